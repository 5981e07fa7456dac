// Package tinyxml is generated from a made-up model and kept as the golden output of the generator.
package tinyxml
