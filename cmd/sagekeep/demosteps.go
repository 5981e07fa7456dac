package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	ctapi "github.com/sagekeep/sagekeep/api/cloudtrail"
	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/raster"
	"github.com/sagekeep/sagekeep/internal/server"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

const (
	demoRole    = "SageMakerGeospatialCustomerRole"
	demoJob     = "field-indices"
	poll        = 50 * time.Millisecond
	jobTimeout  = 2 * time.Minute
	maxDownload = 64 << 20 // bytes of one exported index
)

const demoTrust = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sagemaker-geospatial.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// keyPolicy is the seed page's: the account administers, the execution role uses.
func keyPolicy(account, roleARN string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
 {"Sid":"Enable IAM User Permissions","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:root"},"Action":"kms:*","Resource":"*"},
 {"Sid":"Allow access to Amazon SageMaker geospatial capabilities","Effect":"Allow","Principal":{"AWS":"%s"},
  "Action":["kms:CreateGrant","kms:Decrypt","kms:GenerateDataKey","kms:GenerateDataKeyWithoutPlaintext"],"Resource":"*"}]}`, account, roleARN)
}

func (d *demo) keyAndRole(ctx context.Context) error {
	role, err := client.Call(ctx, d.root, iamapi.CreateRole, &iamapi.CreateRoleInput{RoleName: demoRole, AssumeRolePolicyDocument: demoTrust})
	if err != nil {
		return err
	}
	d.roleARN = role.Role.Arn
	d.bucket = "sagekeep-demo-" + d.account
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject","s3:GetObject","s3:ListBucket"],"Resource":["arn:aws:s3:::%[1]s","arn:aws:s3:::%[1]s/*"]}]}`, d.bucket)
	if _, err := client.Call(ctx, d.root, iamapi.PutRolePolicy, &iamapi.PutRolePolicyInput{RoleName: demoRole, PolicyName: "export", PolicyDocument: policy}); err != nil {
		return err
	}
	key, err := client.Call(ctx, d.root, kmsapi.CreateKey, &kmsapi.CreateKeyInput{
		Description: new("demo: the customer's key"), Policy: new(keyPolicy(d.account, d.roleARN)),
	})
	if err != nil {
		return err
	}
	d.keyID, d.keyARN = key.KeyMetadata.KeyId, *key.KeyMetadata.Arn
	if _, err := client.Call(ctx, d.root, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/demo", TargetKeyId: d.keyID}); err != nil {
		return err
	}
	d.view.line("role  %s", d.roleARN)
	d.view.line("key   %s", d.keyARN)
	return nil
}

func (d *demo) collection(ctx context.Context) error {
	scene, err := d.unpackScene()
	if err != nil {
		return err
	}
	var out server.ImportOutput
	if err := d.operate.Operator(ctx, "ImportCollection", server.ImportInput{Name: "demo", Paths: []string{scene}}, &out); err != nil {
		return err
	}
	d.collectionARN = out.ARN
	if err := os.RemoveAll(scene); err != nil { // imported: the copy has served
		return err
	}
	found, err := client.Call(ctx, d.root, geoapi.SearchRasterDataCollection, &geoapi.SearchRasterDataCollectionInput{
		Arn: d.collectionARN, RasterDataCollectionQuery: &geoapi.RasterDataCollectionQueryWithBandFilterInput{TimeRangeFilter: winter2017()},
	})
	if err != nil {
		return err
	}
	for _, item := range found.Items {
		d.view.line("item  %s, %s, %d assets", item.Id, item.DateTime.UTC().Format(time.RFC3339), len(item.Assets))
	}
	d.view.line("arn   %s", d.collectionARN)
	return nil
}

func winter2017() *geoapi.TimeRangeFilterInput {
	return &geoapi.TimeRangeFilterInput{
		StartTime: time.Date(2017, 2, 1, 0, 0, 0, 0, time.UTC), EndTime: time.Date(2017, 3, 1, 0, 0, 0, 0, time.UTC),
	}
}

func (d *demo) job(ctx context.Context) error {
	job, err := client.Call(ctx, d.root, geoapi.StartEarthObservationJob, &geoapi.StartEarthObservationJobInput{
		Name: demoJob, ExecutionRoleArn: d.roleARN, KmsKeyId: new(d.keyARN),
		InputConfig: &geoapi.InputConfigInput{RasterDataCollectionQuery: &geoapi.RasterDataCollectionQueryInput{
			RasterDataCollectionArn: d.collectionARN, TimeRangeFilter: winter2017(),
		}},
		JobConfig: &geoapi.JobConfigInput{BandMathConfig: &geoapi.BandMathConfigInput{
			PredefinedIndices: []string{"NDVI", "MSAVI"},
			CustomIndices: &geoapi.CustomIndicesInput{Operations: []geoapi.Operation{
				{Name: "moisture", Equation: "(nir - swir16) / (nir + swir16)", OutputType: geoapi.OutputTypeFloat32},
			}},
		}},
	})
	if err != nil {
		return err
	}
	d.jobARN = job.Arn
	d.view.line("job   %s", d.jobARN)
	d.view.line("      NDVI, MSAVI, moisture = (nir - swir16) / (nir + swir16)")
	return d.waitForJob(ctx)
}

func (d *demo) waitForJob(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	for {
		var p server.ProgressOutput
		if err := d.operate.Operator(ctx, "JobProgress", server.ProgressInput{ARN: d.jobARN}, &p); err != nil {
			return err
		}
		d.view.progress(p.Done, p.Total)
		job, err := client.Call(ctx, d.root, geoapi.GetEarthObservationJob, &geoapi.GetEarthObservationJobInput{Arn: d.jobARN})
		if err != nil {
			return err
		}
		switch job.Status {
		case geoapi.EarthObservationJobStatusCompleted:
			d.view.progress(p.Total, p.Total)
			d.view.endProgress()
			return nil
		case geoapi.EarthObservationJobStatusFailed, geoapi.EarthObservationJobStatusStopped:
			d.view.endProgress()
			if e := job.ErrorDetails; e != nil && e.Message != nil {
				return fmt.Errorf("the job ended as %s: %s", job.Status, *e.Message)
			}
			return fmt.Errorf("the job ended as %s", job.Status)
		}
		if err := wait(ctx, poll); err != nil {
			return err
		}
	}
}

func (d *demo) export(ctx context.Context) error {
	in := &s3api.CreateBucketInput{Bucket: d.bucket, CreateBucketConfiguration: &s3api.CreateBucketConfiguration{
		LocationConstraint: s3api.BucketLocationConstraint(server.DefaultRegion),
	}}
	if _, err := client.Call(ctx, d.root, s3api.CreateBucket, in); err != nil {
		return err
	}
	status, message, err := d.runExport(ctx)
	if err != nil {
		return err
	}
	if status != geoapi.EarthObservationJobExportStatusSucceeded {
		return fmt.Errorf("the export ended as %s: %s", status, message)
	}
	list, err := client.Call(ctx, d.root, s3api.ListObjectsV2, &s3api.ListObjectsV2Input{Bucket: d.bucket})
	if err != nil {
		return err
	}
	for _, o := range list.Contents {
		d.view.line("s3    %s (%.1f MB)", *o.Key, float64(*o.Size)/1e6)
		if strings.HasSuffix(*o.Key, "_ndvi.tif") {
			d.ndvi = *o.Key
		}
	}
	return d.look(ctx)
}

// runExport exports the job's results and returns how that ended.
func (d *demo) runExport(ctx context.Context) (geoapi.EarthObservationJobExportStatus, string, error) {
	ctx, cancel := context.WithTimeout(ctx, jobTimeout)
	defer cancel()
	_, err := client.Call(ctx, d.root, geoapi.ExportEarthObservationJob, &geoapi.ExportEarthObservationJobInput{
		Arn: d.jobARN, ExecutionRoleArn: d.roleARN,
		OutputConfig: &geoapi.OutputConfigInput{S3Data: &geoapi.ExportS3DataInput{S3Uri: "s3://" + d.bucket + "/", KmsKeyId: new(d.keyARN)}},
	})
	if err != nil {
		return "", "", err
	}
	for {
		job, err := client.Call(ctx, d.root, geoapi.GetEarthObservationJob, &geoapi.GetEarthObservationJobInput{Arn: d.jobARN})
		if err != nil {
			return "", "", err
		}
		if job.ExportStatus != geoapi.EarthObservationJobExportStatusInProgress {
			message := ""
			if e := job.ExportErrorDetails; e != nil && e.ExportResults != nil && e.ExportResults.Message != nil {
				message = *e.ExportResults.Message
			}
			return job.ExportStatus, message, nil
		}
		if err := wait(ctx, poll); err != nil {
			return "", "", err
		}
	}
}

// look downloads the NDVI, shows it and writes it as a picture.
func (d *demo) look(ctx context.Context) error {
	b, err := d.download(ctx, d.root, d.ndvi)
	if err != nil {
		return err
	}
	im, err := raster.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	d.view.line("NDVI  %d x %d pixels, EPSG:%d", im.Width(), im.Height(), im.EPSG())
	if err := d.view.picture(ctx, im); err != nil {
		return err
	}
	f, err := os.CreateTemp("", "sagekeep-demo-ndvi-*.png")
	if err != nil {
		return err
	}
	err = raster.Quicklook(ctx, f, im, 0, 1024, raster.VegetationRamp())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	d.view.line("png   %s", f.Name())
	return nil
}

func (d *demo) download(ctx context.Context, c *client.Client, key string) ([]byte, error) {
	o, err := client.Call(ctx, c, s3api.GetObject, &s3api.GetObjectInput{Bucket: d.bucket, Key: key})
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(o.Body, maxDownload))
	if c, ok := o.Body.(io.Closer); ok {
		err = errors.Join(err, c.Close())
	}
	return b, err
}

func (d *demo) inspect(ctx context.Context) error {
	list, err := client.Call(ctx, d.root, kmsapi.ListGrants, &kmsapi.ListGrantsInput{KeyId: d.keyID})
	if err != nil {
		return err
	}
	for _, g := range list.Grants {
		d.grantID = *g.GrantId
		d.view.line("grant %s… to %s: %v", (*g.GrantId)[:12], *g.GranteePrincipal, g.Operations)
	}
	return d.trail(ctx, func(*audit.Record) bool { return true })
}

// trail prints those of the key's events that want accepts, in the order in
// which they happened.
func (d *demo) trail(ctx context.Context, want func(*audit.Record) bool) error {
	events, err := client.Call(ctx, d.root, ctapi.LookupEvents, &ctapi.LookupEventsInput{
		LookupAttributes: []ctapi.LookupAttribute{{AttributeKey: ctapi.LookupAttributeKeyResourceName, AttributeValue: d.keyARN}},
		MaxResults:       new(int32(50)),
	})
	if err != nil {
		return err
	}
	slices.Reverse(events.Events) // they come newest first
	for _, e := range events.Events {
		var r audit.Record
		if err := json.Unmarshal([]byte(*e.CloudTrailEvent), &r); err != nil {
			return err
		}
		if want(&r) {
			d.view.event(&r)
		}
	}
	return nil
}

// stranger shows that permissions on the bucket do not open objects under the key.
func (d *demo) stranger(ctx context.Context) error {
	const user = "analyst"
	if _, err := client.Call(ctx, d.root, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: user}); err != nil {
		return err
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`
	if _, err := client.Call(ctx, d.root, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{UserName: user, PolicyName: "all-of-s3", PolicyDocument: policy}); err != nil {
		return err
	}
	key, err := client.Call(ctx, d.root, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: new(user)})
	if err != nil {
		return err
	}
	analyst := d.root.As(sigv4.Credential{AccessKeyID: key.AccessKey.AccessKeyId, Secret: key.AccessKey.SecretAccessKey})
	_, err = d.download(ctx, analyst, d.ndvi)
	if err := d.view.refused("s3:GetObject with every right on S3, none on the key", err); err != nil {
		return err
	}
	_, err = client.Call(ctx, analyst, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: d.keyARN, KeySpec: kmsapi.DataKeySpecAes256})
	return d.view.refused("kms:GenerateDataKey directly", err)
}

func (d *demo) revoke(ctx context.Context) error {
	if _, err := client.Call(ctx, d.root, kmsapi.RevokeGrant, &kmsapi.RevokeGrantInput{KeyId: d.keyID, GrantId: d.grantID}); err != nil {
		return err
	}
	status, message, err := d.runExport(ctx)
	if err != nil {
		// Refused at the door is as good as refused on the way.
		return d.view.refused("exporting the job's results once more", err)
	}
	if status == geoapi.EarthObservationJobExportStatusSucceeded {
		return errors.New("the service could still read the job's results")
	}
	d.view.line("the service tried to read the job's results once more:")
	d.view.line("%s", message)
	return d.trail(ctx, func(r *audit.Record) bool {
		return r.ErrorCode != "" && r.UserIdentity.Type == string(identity.Service)
	})
}

func (d *demo) deleteKey(ctx context.Context) error {
	out, err := client.Call(ctx, d.root, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: d.keyID, PendingWindowInDays: new(int32(7))})
	if err != nil {
		return err
	}
	d.view.line("key   %s until %s, then its material is erased", out.KeyState, out.DeletionDate.UTC().Format(time.RFC3339))
	_, err = d.download(ctx, d.root, d.ndvi)
	return d.view.refused("s3:GetObject as the account's root user", err)
}

// code returns the AWS error code of err, "" for other errors.
func code(err error) (string, string) {
	if e, ok := errors.AsType[*schema.Error](err); ok {
		return e.Code, e.Message
	}
	return "", ""
}
