package authz

import "unicode/utf8"

// Position is a place in the text of a document. Lines and columns count from
// 1, columns in characters.
type Position struct{ Line, Column int }

// position is a Position as a statement keeps it.
type position struct{ line, column int32 }

func (p position) exported() Position { return Position{Line: int(p.line), Column: int(p.column)} }

// place goes through a document and tells positions, in ascending order.
type place struct {
	doc          string
	at           int
	line, column int32
}

func (p *place) to(offset int) position {
	for p.at < offset {
		if c := p.doc[p.at]; c == '\n' {
			p.line, p.column = p.line+1, 0
			p.at++
		} else if c < utf8.RuneSelf {
			p.at++
		} else {
			_, n := utf8.DecodeRuneInString(p.doc[p.at:])
			p.at += n
		}
		p.column++
	}
	return position{line: p.line, column: p.column}
}

// Span returns where a statement, counted from 0, stands in the text that was
// parsed: the position of its opening brace and the one after its closing
// brace.
func (p *Policy) Span(statement int) (start, end Position) {
	s := &p.statements[statement]
	return s.start.exported(), s.end.exported()
}
