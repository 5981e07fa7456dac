package raster_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log"

	"github.com/sagekeep/sagekeep/internal/raster"
	"github.com/sagekeep/sagekeep/internal/sample"
)

// open reads a band of the sample scene.
func open(band string) *raster.Image {
	data, err := fs.ReadFile(sample.FS(), sample.Scene+"/T33UUU_20170216T102101_"+band+".tif")
	if err != nil {
		log.Fatal(err)
	}
	im, err := raster.Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		log.Fatal(err)
	}
	return im
}

// Two indices over one window, the 20 m band aligned to the 10 m grid.
func ExampleCalculator() {
	ndvi, _ := raster.Predefined("NDVI")
	x, err := ndvi.Compile()
	if err != nil {
		log.Fatal(err)
	}
	moisture, err := raster.Compile("(nir - swir16) / (nir + swir16)")
	if err != nil {
		log.Fatal(err)
	}
	calc, err := raster.NewCalculator(map[string]raster.Input{
		"red":    {Image: open("B04"), Scale: 0.0001},
		"nir":    {Image: open("B08"), Scale: 0.0001},
		"swir16": {Image: open("B11"), Scale: 0.0001},
	}, x, moisture)
	if err != nil {
		log.Fatal(err)
	}
	win := raster.Window{X: 700, Y: 300, Width: 2, Height: 1}
	a, b := make([]float32, win.Pixels()), make([]float32, win.Pixels())
	if err := calc.Worker().Compute(context.Background(), win, a, b); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("EPSG:%d NDVI %.3f moisture %.3f\n", calc.Grid().EPSG, a, b)
	// Output: EPSG:32633 NDVI [0.198 0.187] moisture [-0.088 -0.088]
}
