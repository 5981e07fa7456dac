package authz

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync"
)

// maxCase is the longest line that Simulate reads, in bytes.
const maxCase = 16 << 20

// A batch of lines is closed at this many lines or bytes.
const (
	batchLines = 64
	batchBytes = 256 << 10
)

// batch is consecutive lines, and when done is closed their answers.
type batch struct {
	lines []numberedLine
	size  int
	done  chan struct{}
	out   []byte
	bad   int
}

// numberedLine is one line, with its number from 1.
type numberedLine struct {
	number int
	text   []byte // nil for one that is too long
}

// Simulate reads one case a line and writes one verdict a line:
//
//	{"id","request":{"principal","action","resource","resourceAccount","context":{key:string|[string]}},
//	 "policies":{"identity":[doc],"resource":doc,"boundary":[doc],"session":[doc],"scp":[[doc]],"rcp":[[doc]]},
//	 "grants":[{"grantee","operations","constraints"}]}
//	{"id","decision","layer","statement","reason"}
//
// A document is an object, or a string that holds its text. One that cannot be
// read denies explicitly, with reason "malformed policy". A context value in a
// list is a multi-valued key. The statement is a Sid, an index from 0, or null.
//
// The context is complete: nothing is added or dropped. A session's role is
// aws:PrincipalArn if that is a role's ARN of the same name, else the role's
// ARN without a path; aws:userid gives the unique id; a service's further names
// are aws:PrincipalServiceNamesList; the encryption context that grants are
// tested with is what kms:EncryptionContext: keys hold. Without
// resourceAccount, the ARN tells it, else aws:ResourceAccount, else the
// resource is the caller's. A resource that is a key (arn:…:kms:…:key/…) has a
// key policy, a role asked for a session a trust policy.
//
// Lines are worked on in parallel and answered in their order; what is there to
// be answered is written before more is waited for.
//
// A line that is no case gives {"id":null,"error"}, with the number of the line
// in front of the error, and counts as bad. err is a
// failure of r or w.
func Simulate(r io.Reader, w io.Writer) (bad int, err error) {
	workers := runtime.GOMAXPROCS(0)
	work := make(chan *batch, workers)
	ordered := make(chan *batch, 2*workers)
	failed := make(chan struct{}) // closed when w failed
	var wg sync.WaitGroup
	docs := &compiledDocs{}
	for range workers {
		wg.Go(func() {
			for b := range work {
				b.answer(docs)
			}
		})
	}
	var written int
	var werr error
	wg.Go(func() { written, werr = writeBatches(ordered, w, failed) })
	rerr := readBatches(r, func(b *batch) bool {
		select {
		case <-failed:
			return false
		case ordered <- b:
			work <- b
			return true
		}
	})
	close(work)
	close(ordered)
	wg.Wait()
	return written, errors.Join(rerr, werr)
}

// readBatches hands the lines of r to send, until that returns false.
func readBatches(r io.Reader, send func(*batch) bool) error {
	in := bufio.NewReaderSize(r, 64<<10)
	b := &batch{done: make(chan struct{})}
	for number := 1; ; number++ {
		line, tooLong, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			if len(b.lines) > 0 {
				send(b)
			}
			return fmt.Errorf("read cases: %w", err)
		}
		line = bytes.TrimSpace(line)
		if tooLong {
			b.lines = append(b.lines, numberedLine{number: number})
		} else if len(line) > 0 {
			b.lines = append(b.lines, numberedLine{number: number, text: line})
			b.size += len(line)
		}
		full := len(b.lines) == batchLines || b.size >= batchBytes || in.Buffered() == 0 || err != nil
		if full && len(b.lines) > 0 {
			if !send(b) {
				return nil
			}
			b = &batch{done: make(chan struct{})}
		}
		if err != nil {
			return nil
		}
	}
}

// answer decides the cases of a batch.
func (b *batch) answer(docs *compiledDocs) {
	defer close(b.done)
	for _, line := range b.lines {
		var err error
		if line.text == nil {
			err = fmt.Errorf("line longer than %d bytes", maxCase)
		} else {
			b.out, err = docs.appendVerdict(b.out, line.text)
		}
		if err != nil {
			b.bad++
			b.out = append(b.out, `{"id":null,"error":`...)
			b.out = appendJSON(b.out, fmt.Sprintf("line %d: %s", line.number, err))
			b.out = append(b.out, "}\n"...)
		}
	}
}

// writeBatches writes the answers in the order of the lines. It returns the
// number of bad lines among them.
func writeBatches(ordered <-chan *batch, w io.Writer, failed chan<- struct{}) (bad int, err error) {
	out := bufio.NewWriter(w)
	for b := range ordered {
		<-b.done
		if err != nil {
			continue // the reader is about to stop
		}
		bad += b.bad
		_, err = out.Write(b.out)
		if err == nil && len(ordered) == 0 {
			err = out.Flush()
		}
		if err != nil {
			err = fmt.Errorf("write verdicts: %w", err)
			close(failed)
		}
	}
	if err == nil {
		if err = out.Flush(); err != nil {
			err = fmt.Errorf("write verdicts: %w", err)
		}
	}
	return bad, err
}

// readLine reads up to a newline. Of a line that is too long it keeps nothing.
func readLine(in *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		chunk, err := in.ReadSlice('\n')
		if len(line)+len(chunk) > maxCase {
			tooLong, line = true, nil
		}
		if !tooLong {
			line = append(line, chunk...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, tooLong, err
		}
	}
}

// appendVerdict decides one case and appends the verdict with a newline.
func (docs *compiledDocs) appendVerdict(out, line []byte) ([]byte, error) {
	if err := checkJSON(line); err != nil {
		return out, err
	}
	c, err := readCase(string(line))
	if err != nil {
		return out, err
	}
	req, err := simulatedRequest(&c.request)
	if err != nil {
		return out, err
	}
	req.KMSKey, req.Trust = simulatedRules(req, c.resource != nil, c.grants.kind == nodeArray && c.grants.len > 0)
	grants, err := simulatedGrants(&c.grants)
	if err != nil {
		return out, err
	}
	d := Decide(req, docs.policies(c, kindIn(req, &Policies{}, LayerResource)), grants)
	out = append(out, `{"id":`...)
	switch c.id.kind {
	case nodeString:
		out = appendJSON(out, c.id.text)
	case nodeNumber, nodeBool:
		out = append(out, c.id.text...)
	default:
		out = append(out, "null"...)
	}
	out = append(out, `,"decision":"`...)
	out = append(out, d.Effect.String()...)
	out = append(out, `","layer":"`...)
	out = append(out, d.Layer...)
	out = append(out, `","statement":`...)
	switch {
	case d.StatementIsIndex:
		out = append(out, d.Statement...)
	case d.Statement != "":
		out = appendJSON(out, d.Statement)
	default:
		out = append(out, "null"...)
	}
	out = append(out, `,"reason":`...)
	out = appendJSON(out, d.Reason)
	return append(out, "}\n"...), nil
}

// maxCachedDocs is how much text of documents is kept compiled, in bytes.
const maxCachedDocs = 4 << 20

// compiledDocs keeps compiled documents from line to line. Its methods may be
// called concurrently.
type compiledDocs struct {
	mu   sync.RWMutex
	docs map[compiledDoc]*Policy
	size int
}

type compiledDoc struct {
	kind Kind
	name string
	text documentText
}

// policies compiles the documents of a case.
func (docs *compiledDocs) policies(c *simulatedCase, resource Kind) *Policies {
	pols := &Policies{
		Identity: docs.list(c.identity, LayerIdentity, IdentityPolicy),
		Boundary: docs.list(c.boundary, LayerBoundary, BoundaryPolicy),
		Session:  docs.list(c.session, LayerSession, SessionPolicy),
	}
	for _, level := range c.scp {
		pols.SCP = append(pols.SCP, docs.list(level, LayerSCP, SCP))
	}
	for _, level := range c.rcp {
		pols.RCP = append(pols.RCP, docs.list(level, LayerRCP, RCP))
	}
	if c.resource != nil {
		pols.Resource = docs.compile(compiledDoc{kind: resource, name: LayerResource, text: *c.resource})
	}
	return pols
}

func (docs *compiledDocs) list(texts []documentText, layer string, kind Kind) []*Policy {
	if len(texts) == 0 {
		return nil
	}
	list := make([]*Policy, len(texts))
	for i, text := range texts {
		list[i] = docs.compile(compiledDoc{kind: kind, name: layer + " " + strconv.Itoa(i), text: text})
	}
	return list
}

// compile returns the document as strictly compiled as a saved one is, but for
// what only saving forbids.
func (docs *compiledDocs) compile(d compiledDoc) *Policy {
	docs.mu.RLock()
	p := docs.docs[d]
	docs.mu.RUnlock()
	if p != nil {
		return p
	}
	d.text.text = strings.Clone(d.text.text) // not the whole line's memory
	p = compileDocument(d)
	docs.mu.Lock()
	defer docs.mu.Unlock()
	if docs.docs == nil || docs.size > maxCachedDocs {
		docs.docs, docs.size = make(map[compiledDoc]*Policy), 0
	}
	docs.docs[d] = p
	docs.size += len(d.text.text)
	return p
}

func compileDocument(d compiledDoc) *Policy {
	err := error(nil)
	switch {
	case len(d.text.text) > MaxDocument:
		return Unreadable(d.name)
	case !d.text.checked:
		err = checkJSON([]byte(d.text.text))
	}
	if err == nil {
		var p *Policy
		if p, err = (&grammar{kind: d.kind}).policy(d.text.text); err == nil {
			p.Name = d.name
			return p
		}
	}
	return Unreadable(d.name)
}
