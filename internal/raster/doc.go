// Package raster is the geospatial pixel engine: it reads GeoTIFFs, computes
// band math block by block and writes Cloud Optimized GeoTIFFs. It knows
// nothing of AWS or HTTP; bytes come in through an [io.ReaderAt] and leave
// through an [io.Writer] that is never seeked, so both ends can be encrypting
// stores.
//
// Reading. [Open] checks a TIFF's directory once; [Image.ReadWindow] then reads
// and decodes only the blocks that a window touches and may be called
// concurrently. Every size found in a file is checked against the file's length
// and against limits before memory is allocated for it.
//
// Computing. [Compile] turns an equation into an [Expr]; [Predefined] names the
// vegetation, water and snow indices. A [Calculator] aligns the inputs by
// coordinates and evaluates several expressions over one window. In memory a
// missing pixel is always NaN; the declared nodata value of a file is applied
// when pixels enter and leave.
//
// Writing. A [Layout] fixes the pyramid of an output, a [TileCodec] turns tiles
// into bytes and back, a [Pyramid] derives overviews with bounded memory and
// [Assemble] emits the file in order. Encoded tiles may be stored between the
// two stages, so a job can be killed and resumed. [Writer] joins the stages for
// callers who have a [TileStore].
package raster
