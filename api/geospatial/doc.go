// Package geospatial holds the wire shapes, operations and errors of Amazon SageMaker geospatial capabilities
// that Sagekeep answers: those named in operations.txt.
//
// API version 2020-05-27, REST-JSON protocol. Generated from the service model with SHA-256
// e7e915974c205de1ea08a9b35e1853baf8e9ae3ce35d21f4e60fdd5572decbc6.
package geospatial
