package geospatial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// ExportEarthObservationJob copies a completed job's results, and its source
// images when asked for, to S3 under S3Uri + job id, as the execution role given
// here. The copying goes on after the answer; Get shows ExportStatus.
//
// Errors: ResourceNotFoundException, ValidationException; ConflictException for
// a job that is not COMPLETED, for an export under way and for a ClientToken
// used with other parameters.
func (s *Service) ExportEarthObservationJob(ctx context.Context, in *geoapi.ExportEarthObservationJobInput) (*geoapi.ExportEarthObservationJobOutput, error) {
	params := *in
	params.ClientToken = nil
	token, err := newToken(ctx, "Export", in.ClientToken, params)
	if err != nil {
		return nil, err
	}
	if in.OutputConfig == nil || in.OutputConfig.S3Data == nil {
		return nil, geoapi.ValidationException("OutputConfig.S3Data is required.")
	}
	to := in.OutputConfig.S3Data
	if _, _, err := parseS3URI(to.S3Uri); err != nil {
		return nil, err
	}
	role, err := s.assume(ctx, in.ExecutionRoleArn, exportSession)
	if err != nil {
		return nil, err
	}
	if _, account := place(ctx); role.Account != account {
		return nil, geoapi.ValidationException("The execution role %s must be a role of your account.", in.ExecutionRoleArn)
	}
	var out *geoapi.ExportEarthObservationJobOutput
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		job, err := s.ownJob(ctx, tx, in.Arn)
		if err != nil {
			return err
		}
		repeated, err := token.used(tx)
		switch {
		case err != nil:
			return err
		case repeated != nil && job.Export != nil:
		case job.Status != geoapi.EarthObservationJobStatusCompleted:
			return geoapi.ConflictException("The job is %s; only the results of a COMPLETED job can be exported.", job.Status).With("ResourceId", in.Arn)
		case job.Export != nil && job.Export.Status == geoapi.EarthObservationJobExportStatusInProgress:
			return geoapi.ConflictException("An export of the job is in progress.").With("ResourceId", in.Arn)
		default:
			job.Export = &exportRow{
				Started: s.timestamp(), Role: in.ExecutionRoleArn, S3URI: to.S3Uri,
				SourceImages: in.ExportSourceImages != nil && *in.ExportSourceImages,
				Status:       geoapi.EarthObservationJobExportStatusInProgress,
			}
			if to.KmsKeyId != nil {
				job.Export.KmsKeyID = *to.KmsKeyId
			}
			if err := token.use(tx, &job, job.Export.Started); err != nil {
				return err
			}
			if _, err := s.cfg.Jobs.Submit(tx, task{Job: job.Ref}.spec(kindExport)); err != nil {
				return err
			}
			if err := putJob(tx, job); err != nil {
				return err
			}
		}
		out = &geoapi.ExportEarthObservationJobOutput{
			Arn: in.Arn, CreationTime: job.Export.Started, ExecutionRoleArn: job.Export.Role, ExportStatus: job.Export.Status,
			ExportSourceImages: new(job.Export.SourceImages), OutputConfig: in.OutputConfig,
		}
		protocol.Respond(ctx, geoapi.ExportEarthObservationJob, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Jobs.Wake()
	return out, nil
}

// parseS3URI splits s3://bucket/prefix; the prefix is empty or ends in a slash.
//
// Errors: ValidationException.
func parseS3URI(uri string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	bucket, prefix, _ = strings.Cut(rest, "/")
	if !ok || bucket == "" {
		return "", "", geoapi.ValidationException("S3Uri: %q does not have the form s3://BUCKET/PREFIX.", uri)
	}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		prefix += "/"
	}
	return bucket, prefix, nil
}

// exported is one file to copy.
type exported struct {
	file sourceFile
	key  string // below S3Uri + job id
}

// export copies the files of a job, first the results and then the source
// images, in an order that stays the same: what was copied before an
// interruption is not copied again.
func (s *Service) export(ctx context.Context, t *jobs.Task, p task) error {
	var job jobRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		job, err = jobsTable.Get(tx, p.Job.key()...)
		return err
	})
	if errors.Is(err, store.ErrNotFound) || err == nil && (job.Export == nil || job.Status != geoapi.EarthObservationJobStatusCompleted) {
		return nil
	}
	if err != nil {
		return err
	}
	for e := job.Export; ; e.SourcesPhase, e.Done = true, 0 {
		list, err := s.exportList(ctx, &job, e.SourcesPhase)
		if err != nil {
			return err
		}
		for e.Done < len(list) {
			if err := s.exportFile(ctx, &job, &list[e.Done]); err != nil {
				return err
			}
			e.Done++
			if err := t.Commit(ctx, func(tx *store.Tx) error { return s.putExport(tx, p.Job, e) }); err != nil {
				return err
			}
		}
		if e.SourcesPhase || !e.SourceImages {
			break
		}
	}
	s.keys.drop(holder(p.Job, "export"))
	job.Export.Status = geoapi.EarthObservationJobExportStatusSucceeded
	return t.Finish(ctx, func(tx *store.Tx) error { return s.putExport(tx, p.Job, job.Export) })
}

// putExport stores the state of an export without touching the rest of the job.
func (s *Service) putExport(tx *store.Tx, r ref, e *exportRow) error {
	job, err := readJob(tx, r)
	if err != nil {
		return err
	}
	job.Export = e
	return putJob(tx, job)
}

// exportList lists what one phase copies.
func (s *Service) exportList(ctx context.Context, job *jobRow, sources bool) ([]exported, error) {
	var all []sceneRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		all = nil
		for row, err := range scenes.Scan(tx, job.Ref.key(), store.ScanOptions{}) {
			if err != nil {
				return err
			}
			all = append(all, row.Value)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var list []exported
	for i := range all {
		sc := &all[i]
		if sources {
			more, err := s.sourceList(ctx, job, sc)
			if err != nil {
				return nil, err
			}
			list = append(list, more...)
			continue
		}
		outs, err := s.outputsOf(ctx, job.Ref, i)
		if err != nil {
			return nil, err
		}
		for j := range outs {
			list = append(list, exported{
				file: sourceFile{
					segment: outs[j].Segment, size: outs[j].Size, context: outputContext(job.Ref, outs[j].Object),
					previous: job, output: &outs[j],
				},
				key: outs[j].Object,
			})
		}
	}
	return list, nil
}

// sourceList lists the source images of a scene that the equations read.
func (s *Service) sourceList(ctx context.Context, job *jobRow, sc *sceneRow) ([]exported, error) {
	exprs, err := compile(job.Bands)
	if err != nil {
		return nil, err
	}
	src, err := s.sourceOf(ctx, job, sc)
	if err != nil {
		return nil, err
	}
	need, err := src.needed(exprs)
	if err != nil {
		return nil, err
	}
	var list []exported
	for _, i := range need {
		f := src.files[i]
		name := f.name
		if f.previous != nil {
			name = f.previous.Bands[f.output.Band].suffix()
		}
		folder := "input/consolidated/" + sc.Tile + "/" + sc.Time.UTC().Format(time.RFC3339) + "/"
		list = append(list, exported{file: f, key: folder + safeName(sc.ID) + "_" + safeName(name) + ".tif"})
	}
	return list, nil
}

// exportFile copies one file as the execution role.
func (s *Service) exportFile(ctx context.Context, job *jobRow, x *exported) error {
	bucket, prefix, err := parseS3URI(job.Export.S3URI)
	if err != nil {
		return clientError(err, "%s", err)
	}
	r, err := s.openSource(ctx, job.Ref, &x.file, "export")
	if err != nil {
		return err
	}
	defer r.Close()
	role, err := s.cfg.Roles.AssumeForService(s.asService(ctx, job), job.Export.Role, exportSession, Principal)
	if err != nil {
		if schema.AsError(err).Status >= 500 {
			return err
		}
		return clientError(err, "The execution role %s cannot be assumed.", job.Export.Role)
	}
	role.InvokedBy = Principal
	in := &s3api.PutObjectInput{
		Bucket: bucket, Key: prefix + job.Ref.ID + "/" + x.key,
		Body: r.Section(0, r.Size()), ContentLength: new(r.Size()), ContentType: new("image/tiff"),
	}
	if job.Export.KmsKeyID != "" {
		in.ServerSideEncryption, in.SSEKMSKeyId = s3api.ServerSideEncryptionAwsKms, &job.Export.KmsKeyID
	}
	asRole := identity.With(ctx, &identity.Call{
		Caller: role, Region: job.Ref.Region, RequestID: s.cfg.NewID(), SourceIP: Principal, UserAgent: Principal, Time: s.cfg.Now().UTC(),
	})
	if _, err := s.cfg.Objects.PutObject(asRole, in); err != nil {
		if e, ok := errors.AsType[*schema.Error](err); ok && e.Status < 500 {
			return clientError(err, "s3:PutObject to s3://%s/%s was refused: %s.", bucket, in.Key, e.Error())
		}
		return fmt.Errorf("geospatial: write an exported file: %w", err)
	}
	return nil
}

// failExport ends an export with the reason of its failure.
func (s *Service) failExport(tx *store.Tx, p task, cause error) error {
	job, err := jobsTable.Get(tx, p.Job.key()...)
	if errors.Is(err, store.ErrNotFound) || err == nil && (job.Export == nil || job.Status != geoapi.EarthObservationJobStatusCompleted) {
		return nil
	}
	if err != nil {
		return err
	}
	job.Export.Status = geoapi.EarthObservationJobExportStatusFailed
	if job.Export.SourcesPhase {
		job.Export.SourcesError = failureOf(cause)
	} else {
		job.Export.ResultsError = failureOf(cause)
	}
	return putJob(tx, job)
}
