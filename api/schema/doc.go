// Package schema says what an API shape, a constraint, an operation and an API
// error are. Generated packages (api/kms, api/s3 …) hold values of these types;
// package wire turns them into bytes and back, and package protocol routes,
// authorises and records by them. It knows no service and no transport.
//
// A Go struct generated for a Structure shape has exactly one field per entry
// of Shape.Members, in the same order, so that codecs walk both by index.
// Field types by member:
//
//	string            string when required, *string otherwise
//	enum              a named string type; "" means absent
//	boolean, integer, long, float, double
//	                  bool, int32, int64, float32, float64; a pointer unless required
//	timestamp         time.Time when required, *time.Time otherwise
//	blob              []byte (nil means absent); io.Reader when Streaming
//	list, map         slice of element values, map[string]value; nil means absent
//	structure         pointer
//
// List elements and map values are values for scalars and structures alike
// ([]string, []Tag, map[string]string).
package schema
