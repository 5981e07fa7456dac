package authz

import "reflect"

// Size is about what the policy takes in memory, in bytes: up to forty times
// the length of its document. Who keeps policies that others write bounds the sum.
func (p *Policy) Size() int {
	n := int(reflect.TypeFor[Policy]().Size()) + len(p.id) + slice(p.statements)
	for i := range p.statements {
		s := &p.statements[i]
		n += slice(s.principals) + slice(s.actions) + textsSize(s.resources) + stringsSize(s.actionText) + stringsSize(s.resourceText) + slice(s.conditions)
		for j := range s.principals {
			n += len(s.principals[j].text)
		}
		for j := range s.conditions {
			c := &s.conditions[j]
			n += len(c.keyText) + len(c.key) + stringsSize(c.values) + textsSize(c.texts) + slice(c.numbers) + slice(c.dates) + slice(c.nets) + slice(c.blobs) + slice(c.bools)
		}
	}
	return n
}

// slice is the memory of a slice's elements, without what they point to.
func slice[T any](s []T) int {
	return cap(s) * int(reflect.TypeFor[T]().Size())
}

func stringsSize(list []string) int {
	n := slice(list)
	for _, s := range list {
		n += len(s)
	}
	return n
}

func textsSize(list []text) int {
	n := slice(list)
	for i := range list {
		n += len(list[i].glob.pat) + slice(list[i].parts)
		for j := range list[i].parts {
			n += len(list[i].parts[j].key)
		}
	}
	return n
}
