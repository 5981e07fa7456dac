// Package iam holds the wire shapes, operations and errors of AWS Identity and Access Management
// that Sagekeep answers: those named in operations.txt.
//
// API version 2010-05-08, query protocol. Generated from the service model with SHA-256
// 951ee47e135ddb432441e9ceb67cfe3ece38feb34c321c6bf05b037880666b3b.
package iam
