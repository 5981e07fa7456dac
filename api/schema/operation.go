package schema

// Protocol is the wire protocol of a service.
type Protocol uint8

// The four protocols of the services we speak.
const (
	AWSJSON11 Protocol = iota + 1
	RESTJSON1
	RESTXML
	AWSQuery
)

// Service describes one AWS API.
type Service struct {
	Name         string // our folder and IAM action prefix: kms, iam, sts, s3, cloudtrail, sagemaker-geospatial
	ID           string // AWS serviceId, for example "SageMaker Geospatial"
	SigningName  string // credential scope service
	Protocol     Protocol
	APIVersion   string
	TargetPrefix string // X-Amz-Target prefix, awsJson only
	XMLNamespace string
	EventSource  string   // CloudTrail eventSource, for example kms.amazonaws.com
	Known        []string // every operation name of the model, sorted, registered or not
	// Lenient services do not check inputs against Min, Max, Pattern and Enum:
	// S3 answers bad values with errors of its own.
	Lenient bool
}

// Operation is one API call.
type Operation struct {
	Service *Service
	Name    string
	Method  string // HTTP method
	Path    string // URI template, with query literals such as "?list-type=2"
	Status  int    // success status, 200 when the model is silent
	Input   *Shape // nil = no input
	Output  *Shape // nil = no output
	// ResultWrapper is the query protocol's result element, "" = none.
	ResultWrapper string
	// Unsigned operations carry no credentials (authtype none).
	Unsigned bool
	// ReadOnly is CloudTrail's readOnly flag.
	ReadOnly bool
	// DataEvent operations are CloudTrail data events, recorded only when a trail selects them.
	DataEvent bool
	// ChecksumRequired: the request body needs Content-MD5 or a checksum header (S3).
	ChecksumRequired bool
	// NewInput and NewOutput return pointers to fresh generated structs.
	NewInput  func() any
	NewOutput func() any
}

// Op is an Operation with its Go types, so that a method of the wrong shape
// does not compile.
type Op[In, Out any] struct{ *Operation }

// Nothing is the input or output of operations that have none.
type Nothing struct{}
