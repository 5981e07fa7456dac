// Package kms holds the wire shapes, operations and errors of AWS Key Management Service
// that Sagekeep answers: those named in operations.txt.
//
// API version 2014-11-01, JSON 1.1 protocol. Generated from the service model with SHA-256
// b9434f7ee953e0dddd8a64e08104c774ae02759e1d53f220a9371f9f6cd02c69.
package kms
