// Package cloudtrail holds the wire shapes, operations and errors of AWS CloudTrail
// that Sagekeep answers: those named in operations.txt.
//
// API version 2013-11-01, JSON 1.1 protocol. Generated from the service model with SHA-256
// d1ecedc239cffe1220d9e22878b9ea5bd19cbd83b463126cd16a6547cd056475.
package cloudtrail
