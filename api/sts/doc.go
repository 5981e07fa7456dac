// Package sts holds the wire shapes, operations and errors of AWS Security Token Service
// that Sagekeep answers: those named in operations.txt.
//
// API version 2011-06-15, query protocol. Generated from the service model with SHA-256
// d97a08aa49223dee070009624c1d70f5b6af6ccc43220cc30ff566d5f02f3c0b.
package sts
