package authz

import "strings"

// s3Objects and s3Buckets are the actions whose resources are objects and
// buckets.
// Source: Service Authorization Reference, "Amazon S3".
const (
	s3Objects = "abortmultipartupload bypassgovernanceretention deleteobject deleteobjectannotation deleteobjecttagging " +
		"deleteobjectversion deleteobjectversionannotation deleteobjectversiontagging getobject getobjectacl getobjectannotation " +
		"getobjectattributes getobjectlegalhold getobjectretention getobjecttagging getobjecttorrent getobjectversion " +
		"getobjectversionacl getobjectversionannotation getobjectversionannotationforreplication getobjectversionattributes " +
		"getobjectversionforreplication getobjectversiontagging getobjectversiontorrent initiatereplication " +
		"listmultipartuploadparts listobjectannotations listobjectversionannotations objectowneroverridetobucketowner putobject " +
		"putobjectacl putobjectannotation putobjectlegalhold putobjectretention putobjecttagging putobjectversionacl " +
		"putobjectversionannotation putobjectversiontagging replicatedelete replicateobject replicateobjectannotation " +
		"replicatetags restoreobject updateobjectencryption"
	s3Buckets = "createbucket createbucketmetadatatableconfiguration deletebucket deletebucketmetadatatableconfiguration " +
		"deletebucketpolicy deletebucketwebsite getaccelerateconfiguration getanalyticsconfiguration getbucketabac getbucketacl " +
		"getbucketcors getbucketlocation getbucketlogging getbucketmetadatatableconfiguration getbucketnotification " +
		"getbucketobjectlockconfiguration getbucketownershipcontrols getbucketpolicy getbucketpolicystatus " +
		"getbucketpublicaccessblock getbucketrequestpayment getbuckettagging getbucketversioning getbucketwebsite " +
		"getencryptionconfiguration getintelligenttieringconfiguration getinventoryconfiguration getlifecycleconfiguration " +
		"getmetricsconfiguration getreplicationconfiguration listbucket listbucketmultipartuploads listbucketversions " +
		"listtagsforresource pausereplication putaccelerateconfiguration putanalyticsconfiguration putbucketabac putbucketacl " +
		"putbucketcors putbucketlogging putbucketnotification putbucketobjectlockconfiguration putbucketownershipcontrols " +
		"putbucketpolicy putbucketpublicaccessblock putbucketrequestpayment putbuckettagging putbucketversioning " +
		"putbucketwebsite putencryptionconfiguration putintelligenttieringconfiguration putinventoryconfiguration " +
		"putlifecycleconfiguration putmetricsconfiguration putreplicationconfiguration tagresource untagresource"
)

// appliesToS3 reports whether every action of a bucket policy's statement has a
// resource there that it can apply to: objects for s3:GetObject, the bucket for
// s3:ListBucket. What it does not know is none of its business.
func appliesToS3(s *statement) bool {
	if s.notAction || s.notResource {
		return true
	}
	objects, buckets := false, false
	for _, r := range s.resourceText {
		a, ok := splitARN(r)
		if !ok || a.service != "s3" || a.region != "" {
			return true
		}
		wild := strings.IndexAny(a.resource, "*?$")
		slash := strings.IndexByte(a.resource, '/')
		objects = objects || wild >= 0 || slash >= 0
		buckets = buckets || slash < 0 || wild >= 0 && wild < slash
	}
	for i := range s.actions {
		onObjects, onBuckets := s.actions[i].matchesAny(s3Objects), s.actions[i].matchesAny(s3Buckets)
		if (onObjects || onBuckets) && !(onObjects && objects) && !(onBuckets && buckets) {
			return false
		}
	}
	return true
}

// matchesAny reports whether an action's pattern matches one of the actions of
// S3, which are given without the prefix.
func (g *glob) matchesAny(names string) bool {
	if g.shape == globLiteral {
		name, ok := strings.CutPrefix(g.pat, "s3:")
		return ok && strings.Contains(" "+names+" ", " "+name+" ")
	}
	for name := range strings.FieldsSeq(names) {
		if g.match("s3:"+name, nil) {
			return true
		}
	}
	return false
}
