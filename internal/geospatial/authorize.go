package geospatial

import (
	"context"
	"errors"
	"strings"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// CloudTrail's types of the service's resources.
const (
	jobType        = "AWS::SageMakerGeospatial::EarthObservationJob"
	collectionType = "AWS::SageMakerGeospatial::RasterDataCollection"
)

const (
	jobResource        = "earth-observation-job/"
	collectionResource = "raster-data-collection/user/"
)

func (r ref) jobARN() string { return r.arn(jobResource) }

func (r ref) collectionARN() string { return r.arn(collectionResource) }

func (r ref) arn(resource string) string {
	return "arn:aws:sagemaker-geospatial:" + r.Region + ":" + r.Account + ":" + resource + r.ID
}

// parseARN reads the ARN of a job or of a user's collection; kind is the
// resource's prefix, "" for any other ARN.
func parseARN(arn string) (r ref, kind string) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] != "aws" || p[2] != "sagemaker-geospatial" {
		return ref{}, ""
	}
	for _, k := range []string{jobResource, collectionResource} {
		if id, ok := strings.CutPrefix(p[5], k); ok && id != "" && !strings.Contains(id, "/") {
			return ref{Region: p[3], Account: p[4], ID: id}, k
		}
	}
	return ref{Account: p[4]}, ""
}

// refOf reads the ARN of a resource of one kind in the region of the call.
//
// Errors: ResourceNotFoundException.
func refOf(ctx context.Context, arn, kind string) (ref, error) {
	r, got := parseARN(arn)
	call := identity.From(ctx)
	if got != kind || r.Region != call.Region || r.Account != call.Caller.Account {
		return r, geoapi.ResourceNotFoundException("The resource %s does not exist.", arn)
	}
	return r, nil
}

// of is the resolver of operations on one resource.
func of[In any](s *Service, arn func(*In) string) protocol.Resolver[In] {
	return func(ctx context.Context, in *In) ([]protocol.Check, error) {
		c, err := s.check(ctx, arn(in))
		return []protocol.Check{c}, err
	}
}

// check builds the question about one resource. One that does not exist is asked
// about as well, so that who may not see it does not learn that.
func (s *Service) check(ctx context.Context, arn string) (protocol.Check, error) {
	r, kind := parseARN(arn)
	c := protocol.Check{Resource: arn, Account: r.Account, Context: authz.NewContext()}
	if kind == "" {
		return c, nil
	}
	var tags map[string]string
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		if kind == jobResource {
			c.ResourceType = jobType
			job, err := jobsTable.Get(tx, r.key()...)
			tags = job.Tags
			return err
		}
		c.ResourceType = collectionType
		row, err := collections.Get(tx, r.key()...)
		tags = row.Tags
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return c, err
	}
	for name, value := range tags {
		c.Context.Set("aws:ResourceTag/"+name, value)
	}
	return c, nil
}

// requestTags sets the condition keys of the tags in a request.
func requestTags(c authz.Context, tags map[string]string) {
	var names []string
	for name, value := range tags {
		c.Set("aws:RequestTag/"+name, value)
		names = append(names, name)
	}
	c.SetMulti("aws:TagKeys", names...)
}

// startChecks asks for the start, for the tagging that comes with it, and for
// the right to pass the execution role.
func (s *Service) startChecks(ctx context.Context, in *geoapi.StartEarthObservationJobInput) ([]protocol.Check, error) {
	c := authz.NewContext()
	requestTags(c, in.Tags)
	call := identity.From(ctx)
	// The job has no name yet: AWS's service authorization reference has the
	// resource type of jobs for the action.
	jobs := ref{Region: call.Region, Account: call.Caller.Account, ID: "*"}.jobARN()
	checks := []protocol.Check{{Resource: jobs, Context: c}}
	if len(in.Tags) > 0 {
		checks = append(checks, protocol.Check{Action: "sagemaker-geospatial:TagResource", Resource: jobs, Context: c})
	}
	if in.InputConfig != nil && in.InputConfig.PreviousEarthObservationJobArn != nil {
		// The earlier job's results are opened under its own grant: who may not see
		// that job may not read it through another.
		c, err := s.check(ctx, *in.InputConfig.PreviousEarthObservationJobArn)
		if err != nil {
			return nil, err
		}
		c.Action = "sagemaker-geospatial:GetEarthObservationJob"
		checks = append(checks, c)
	}
	return append(checks, s.cfg.Roles.PassRoleCheck(in.ExecutionRoleArn, Principal)), nil
}

func (s *Service) exportChecks(ctx context.Context, in *geoapi.ExportEarthObservationJobInput) ([]protocol.Check, error) {
	c, err := s.check(ctx, in.Arn)
	if err != nil {
		return nil, err
	}
	return []protocol.Check{c, s.cfg.Roles.PassRoleCheck(in.ExecutionRoleArn, Principal)}, nil
}

func (s *Service) tagChecks(ctx context.Context, in *geoapi.TagResourceInput) ([]protocol.Check, error) {
	c, err := s.check(ctx, in.ResourceArn)
	requestTags(c.Context, in.Tags)
	return []protocol.Check{c}, err
}

func (s *Service) untagChecks(ctx context.Context, in *geoapi.UntagResourceInput) ([]protocol.Check, error) {
	c, err := s.check(ctx, in.ResourceArn)
	c.Context.SetMulti("aws:TagKeys", in.TagKeys...)
	return []protocol.Check{c}, err
}
