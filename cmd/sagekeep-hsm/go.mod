// The program that loads PKCS#11 libraries is a module of its own: it needs cgo, and
// the server's module must build without.
module github.com/sagekeep/sagekeep/cmd/sagekeep-hsm

go 1.26.0

require (
	github.com/miekg/pkcs11 v1.1.2
	github.com/sagekeep/sagekeep v0.0.0
)

replace github.com/sagekeep/sagekeep => ../..
