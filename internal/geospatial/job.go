package geospatial

import (
	"context"
	"errors"
	"strings"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

// terminal reports whether a job has come to its end.
func terminal(status geoapi.EarthObservationJobStatus) bool {
	switch status {
	case geoapi.EarthObservationJobStatusCompleted, geoapi.EarthObservationJobStatusFailed, geoapi.EarthObservationJobStatusStopped:
		return true
	}
	return false
}

// active reports whether a job's tasks may go on.
func active(status geoapi.EarthObservationJobStatus) bool {
	return status == geoapi.EarthObservationJobStatusInitializing || status == geoapi.EarthObservationJobStatusInProgress
}

// duration is the time from the start of a job to its end, or to now.
func (s *Service) duration(job *jobRow) int32 {
	end := job.Ended
	if end.IsZero() {
		end = s.cfg.Now()
	}
	return int32(max(0, end.Sub(job.Created)) / time.Second)
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// GetEarthObservationJob describes a job.
//
// Errors: ResourceNotFoundException.
func (s *Service) GetEarthObservationJob(ctx context.Context, in *geoapi.GetEarthObservationJobInput) (*geoapi.GetEarthObservationJobOutput, error) {
	var job jobRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		job, err = s.ownJob(ctx, tx, in.Arn)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &geoapi.GetEarthObservationJobOutput{
		Arn: job.Ref.jobARN(), CreationTime: job.Created, DurationInSeconds: s.duration(&job), ExecutionRoleArn: optional(job.Role),
		InputConfig: job.Input, JobConfig: job.Config, KmsKeyId: optional(job.KmsKeyID), Name: job.Name, Status: job.Status, Tags: job.Tags,
	}
	for _, b := range job.Bands {
		out.OutputBands = append(out.OutputBands, geoapi.OutputBand{BandName: b.suffix(), OutputDataType: b.Type})
	}
	if f := job.Error; f != nil {
		out.ErrorDetails = &geoapi.EarthObservationJobErrorDetails{Message: &f.Message, Type: geoapi.EarthObservationJobErrorType(f.typ())}
	}
	if e := job.Export; e != nil {
		out.ExportStatus = e.Status
		if e.ResultsError != nil || e.SourcesError != nil {
			out.ExportErrorDetails = &geoapi.ExportErrorDetails{
				ExportResults: e.ResultsError.export(), ExportSourceImages: e.SourcesError.export(),
			}
		}
	}
	return out, nil
}

// typ is the failure's type in the API.
func (f *failure) typ() string {
	if f.Server {
		return "SERVER_ERROR"
	}
	return "CLIENT_ERROR"
}

func (f *failure) export() *geoapi.ExportErrorDetailsOutput {
	if f == nil {
		return nil
	}
	return &geoapi.ExportErrorDetailsOutput{Message: &f.Message, Type: geoapi.ExportErrorType(f.typ())}
}

// ListEarthObservationJobs lists the caller's jobs by the time they were
// started, newest first unless SortOrder is ASCENDING.
//
// Errors: ValidationException.
func (s *Service) ListEarthObservationJobs(ctx context.Context, in *geoapi.ListEarthObservationJobsInput) (*geoapi.ListEarthObservationJobsOutput, error) {
	if in.SortBy != nil && *in.SortBy != "" && !strings.EqualFold(*in.SortBy, "CreationTime") {
		return nil, geoapi.ValidationException("SortBy: %q is not supported; jobs are sorted by CreationTime.", *in.SortBy)
	}
	p, err := s.page(ctx, "ListEarthObservationJobs", []any{in.StatusEquals, in.SortOrder}, in.MaxResults, maxPage, in.NextToken)
	if err != nil {
		return nil, err
	}
	limit := p.options.Limit
	p.options.Limit = 0 // rows are filtered first
	p.options.Reverse = in.SortOrder != geoapi.SortOrderAscending
	out := &geoapi.ListEarthObservationJobsOutput{EarthObservationJobSummaries: []geoapi.ListEarthObservationJobOutputConfig{}}
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var last []byte
		for row, err := range jobsTable.ByIndex(tx, "time", store.Key{p.region, p.account}, p.options) {
			if err != nil {
				return err
			}
			job := &row.Value
			if in.StatusEquals != "" && job.Status != in.StatusEquals {
				continue
			}
			if len(out.EarthObservationJobSummaries) == limit {
				out.NextToken, err = p.next(last)
				return err
			}
			out.EarthObservationJobSummaries = append(out.EarthObservationJobSummaries, geoapi.ListEarthObservationJobOutputConfig{
				Arn: job.Ref.jobARN(), CreationTime: job.Created, DurationInSeconds: s.duration(job), Name: job.Name,
				OperationType: operationType(job.Config), Status: job.Status, Tags: job.Tags,
			})
			last = row.Cursor
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// StopEarthObservationJob stops a job between two blocks; what it has made so far
// is removed. A job that is already stopping stays so.
//
// Errors: ResourceNotFoundException; ConflictException for a job at its end.
func (s *Service) StopEarthObservationJob(ctx context.Context, in *geoapi.StopEarthObservationJobInput) (*geoapi.StopEarthObservationJobOutput, error) {
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		job, err := s.ownJob(ctx, tx, in.Arn)
		if err != nil {
			return err
		}
		switch {
		case job.Status == geoapi.EarthObservationJobStatusStopping:
			return nil
		case !active(job.Status):
			return geoapi.ConflictException("The job is %s and cannot be stopped.", job.Status).With("ResourceId", in.Arn)
		}
		job.Status = geoapi.EarthObservationJobStatusStopping
		return s.endTasks(tx, &job)
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Jobs.Wake()
	return &geoapi.StopEarthObservationJobOutput{}, nil
}

// endTasks stops a job's tasks and has its leavings removed. It stores the row.
func (s *Service) endTasks(tx *store.Tx, job *jobRow) error {
	if _, err := s.cfg.Jobs.StopGroup(tx, group(job.Ref)); err != nil {
		return err
	}
	if _, err := s.cfg.Jobs.Submit(tx, task{Job: job.Ref}.spec(kindEnd)); err != nil {
		return err
	}
	return putJob(tx, *job)
}

// DeleteEarthObservationJob deletes a job that has come to its end, with its
// results, and retires its grant. The job is DELETING until the results are
// gone, and does not exist afterwards.
//
// Errors: ResourceNotFoundException; ConflictException for a job that runs.
func (s *Service) DeleteEarthObservationJob(ctx context.Context, in *geoapi.DeleteEarthObservationJobInput) (*geoapi.DeleteEarthObservationJobOutput, error) {
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		job, err := s.ownJob(ctx, tx, in.Arn)
		if err != nil {
			return err
		}
		switch {
		case job.Status == geoapi.EarthObservationJobStatusDeleting:
			return nil
		case !terminal(job.Status):
			return geoapi.ConflictException("The job is %s; stop it first.", job.Status).With("ResourceId", in.Arn)
		}
		if err := s.retireGrant(tx.Context(ctx), &job); err != nil {
			return err
		}
		if _, err := s.cfg.Jobs.StopGroup(tx, exportGroup(job.Ref)); err != nil {
			return err
		}
		job.Status = geoapi.EarthObservationJobStatusDeleting
		return s.endTasks(tx, &job)
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Jobs.Wake()
	return &geoapi.DeleteEarthObservationJobOutput{}, nil
}

// retireGrant gives up the job's grant, as the service principal that holds it.
// ctx is that of a request: inside a transaction the record of the call joins
// the request's, for the journal cannot be written there.
// A grant or a key that is gone already is no error.
func (s *Service) retireGrant(ctx context.Context, job *jobRow) error {
	if job.GrantID == "" {
		return nil
	}
	_, err := s.cfg.Keys.RetireGrant(identity.As(ctx, serviceCaller(job)), &kmsapi.RetireGrantInput{KeyId: &job.KeyARN, GrantId: &job.GrantID})
	if e, ok := errors.AsType[*schema.Error](err); ok && e.Code == "NotFoundException" {
		return nil
	}
	return err
}

// Progress returns how much of a job is done, in blocks and files; total grows
// when the blocks of more scenes become known. Both are 0 for a job that does not
// exist or has not begun, and stay as they were when it has ended.
func (s *Service) Progress(ctx context.Context, jobARN string) (done, total int) {
	r, kind := parseARN(jobARN)
	if kind != jobResource {
		return 0, 0
	}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		p, err := progresses.Get(tx, r.key()...)
		if err != nil {
			return err
		}
		done, total = p.Done, p.Units
		if p.Planned > 0 {
			total += p.Units / p.Planned * (p.Scenes - p.Planned)
		}
		return nil
	})
	if err != nil {
		return 0, 0
	}
	return done, total
}
