// Package organizations holds the wire shapes, operations and errors of AWS Organizations
// that Sagekeep answers: those named in operations.txt.
//
// API version 2016-11-28, JSON 1.1 protocol. Generated from the service model with SHA-256
// 53b0b4ee4914ac42e5b8471a945d671cbf841f9f9831119ccb7f217ffd7b28d3.
package organizations
