// Package sample holds a small real scene: four bands of a Sentinel-2 L1C tile
// west of Berlin as Cloud Optimized GeoTIFFs, with a STAC 1.0 item that
// describes them. The demo and the tests run on it without a network.
//
// The pixels are Copernicus Sentinel data 2017; see NOTICE in the scene's folder.
package sample

import (
	"embed"
	"io/fs"
)

//go:embed s2_t33uuu_20170216
var files embed.FS

// Scene is the folder of the scene in FS.
const Scene = "s2_t33uuu_20170216"

// Item is the path of the STAC item in FS; hrefs in it are relative to it.
const Item = Scene + "/item.json"

// FS returns the sample files, read-only.
func FS() fs.FS { return files }
