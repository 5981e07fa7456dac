package segment

import "sync"

// buffer holds one sealed chunk with the header in front of it, or one byte
// more than a plaintext chunk.
type buffer [maxHeader + ChunkSize + maxLayers*layerOverhead]byte

// buffers recycles scratch memory between streams; it carries no state.
var buffers = sync.Pool{New: func() any { return new(buffer) }}

func takeBuffer() *buffer { return buffers.Get().(*buffer) }

// release gives a buffer back and forgets it. A nil buffer is fine.
func release(b **buffer) {
	if *b != nil {
		buffers.Put(*b)
		*b = nil
	}
}
