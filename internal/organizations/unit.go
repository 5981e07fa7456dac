package organizations

import (
	"context"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Quotas, as AWS grants them at most where they can be raised.
//
// Source: AWS Organizations User Guide, "Quotas and service limits for AWS
// Organizations".
const (
	maxAccounts = 10_000
	maxUnits    = 2000
	maxDepth    = 5 // levels of units below the root
	maxAttached = 5 // policies of one type on one target
	maxTags     = 50
	maxContent  = 5120 // characters of a policy, white space included
	maxSCPs     = 10_000
	maxRCPs     = 1000
)

func noUnit() error {
	return orgapi.OrganizationalUnitNotFoundException("You specified an organizational unit that doesn't exist.")
}

func (s *Service) unit(tx *store.Tx, o *organizationRow, id string) (unitRow, error) {
	u, err := s.units.Get(tx, o.ID, id)
	if err != nil {
		return unitRow{}, missing(err, "unit", noUnit())
	}
	return u, nil
}

func (s *Service) unitShape(tx *store.Tx, o *organizationRow, u *unitRow) (*orgapi.OrganizationalUnit, error) {
	chain, err := s.above(tx, o, u.Parent)
	if err != nil {
		return nil, err
	}
	return &orgapi.OrganizationalUnit{
		Id: &u.ID, Arn: new(o.targetARN(u.ID)), Name: &u.Name, Path: new(pathOf(o, chain) + u.ID + "/"),
	}, nil
}

// freeName refuses a name that another unit of the same parent has.
func (s *Service) freeName(tx *store.Tx, u *unitRow) error {
	taken, err := some(tx, s.units, byName, u.Organization, u.Parent, u.Name)
	if err == nil && taken {
		err = orgapi.DuplicateOrganizationalUnitException("An OU with the same name already exists.")
	}
	return err
}

// CreateOrganizationalUnit makes a unit below the root or a unit.
//
// Errors: ParentNotFoundException; DuplicateOrganizationalUnitException;
// ConstraintViolationException beyond five levels, 2,000 units or 50 tags;
// InvalidInputException for tags; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) CreateOrganizationalUnit(ctx context.Context, in *orgapi.CreateOrganizationalUnitInput) (*orgapi.CreateOrganizationalUnitOutput, error) {
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	out := &orgapi.CreateOrganizationalUnitOutput{}
	err = s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		parent, err := s.parent(tx, o, in.ParentId, noParent())
		if err != nil {
			return err
		}
		chain, err := s.above(tx, o, parent.id)
		if err != nil {
			return err
		}
		if len(chain) >= maxDepth {
			return violation("OU_DEPTH_LIMIT_EXCEEDED", "You have reached the maximum depth of the organizational unit tree: %d levels.", maxDepth)
		}
		if n, err := count(tx, s.units, byParent, o.ID); err != nil || n >= maxUnits {
			if err == nil {
				err = violation("OU_NUMBER_LIMIT_EXCEEDED", "You have reached the maximum number of organizational units: %d.", maxUnits)
			}
			return err
		}
		u := unitRow{
			Organization: o.ID, ID: newUnitID(o.Root), Name: in.Name, Parent: parent.id, Created: s.stamp(),
			Attached: o.defaults(), Tags: tags,
		}
		if err := s.freeName(tx, &u); err != nil {
			return err
		}
		if out.OrganizationalUnit, err = s.unitShape(tx, o, &u); err != nil {
			return err
		}
		protocol.Respond(ctx, orgapi.CreateOrganizationalUnit, out)
		return s.units.Put(tx, u, o.ID, u.ID)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DescribeOrganizationalUnit describes a unit.
//
// Errors: OrganizationalUnitNotFoundException;
// AWSOrganizationsNotInUseException; AccessDeniedException.
func (s *Service) DescribeOrganizationalUnit(ctx context.Context, in *orgapi.DescribeOrganizationalUnitInput) (*orgapi.DescribeOrganizationalUnitOutput, error) {
	out := &orgapi.DescribeOrganizationalUnitOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		u, err := s.unit(tx, o, in.OrganizationalUnitId)
		if err != nil {
			return err
		}
		out.OrganizationalUnit, err = s.unitShape(tx, o, &u)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// UpdateOrganizationalUnit renames a unit.
//
// Errors: OrganizationalUnitNotFoundException;
// DuplicateOrganizationalUnitException; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) UpdateOrganizationalUnit(ctx context.Context, in *orgapi.UpdateOrganizationalUnitInput) (*orgapi.UpdateOrganizationalUnitOutput, error) {
	out := &orgapi.UpdateOrganizationalUnitOutput{}
	err := s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		u, err := s.unit(tx, o, in.OrganizationalUnitId)
		if err != nil {
			return err
		}
		if in.Name != nil && *in.Name != u.Name {
			u.Name = *in.Name
			if err := s.freeName(tx, &u); err != nil {
				return err
			}
		}
		if out.OrganizationalUnit, err = s.unitShape(tx, o, &u); err != nil {
			return err
		}
		protocol.Respond(ctx, orgapi.UpdateOrganizationalUnit, out)
		return s.units.Put(tx, u, o.ID, u.ID)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteOrganizationalUnit removes a unit without units and accounts.
//
// Errors: OrganizationalUnitNotFoundException;
// OrganizationalUnitNotEmptyException; AWSOrganizationsNotInUseException;
// AccessDeniedException.
func (s *Service) DeleteOrganizationalUnit(ctx context.Context, in *orgapi.DeleteOrganizationalUnitInput) (*schema.Nothing, error) {
	return nil, s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		u, err := s.unit(tx, o, in.OrganizationalUnitId)
		if err != nil {
			return err
		}
		units, err := some(tx, s.units, byParent, o.ID, u.ID)
		if err != nil {
			return err
		}
		accounts, err := some(tx, s.accounts, byParent, o.ID, u.ID)
		if err != nil {
			return err
		}
		if units || accounts {
			return orgapi.OrganizationalUnitNotEmptyException("The specified OU is not empty. Move all accounts to another root or to other OUs, remove all child OUs, and try the operation again.")
		}
		return s.units.Delete(tx, o.ID, u.ID)
	})
}

// ListOrganizationalUnitsForParent lists the units right below the root or a
// unit.
//
// Errors: ParentNotFoundException; AWSOrganizationsNotInUseException;
// AccessDeniedException; InvalidInputException.
func (s *Service) ListOrganizationalUnitsForParent(ctx context.Context, in *orgapi.ListOrganizationalUnitsForParentInput) (*orgapi.ListOrganizationalUnitsForParentOutput, error) {
	out := &orgapi.ListOrganizationalUnitsForParentOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		parent, err := s.parent(tx, o, in.ParentId, noParent())
		if err != nil {
			return err
		}
		l := listing{name: "ListOrganizationalUnitsForParent|" + parent.id, token: in.NextToken, max: in.MaxResults}
		out.OrganizationalUnits, out.NextToken, err = list(ctx, s, tx, l,
			rows(s.units, byParent, store.Key{o.ID, parent.id}, func(tx *store.Tx, u *unitRow) (orgapi.OrganizationalUnit, bool, error) {
				shape, err := s.unitShape(tx, o, u)
				if err != nil {
					return orgapi.OrganizationalUnit{}, false, err
				}
				return *shape, true, nil
			}))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListChildren lists the ids of the units, or of the accounts, right below the
// root or a unit.
//
// Errors: ParentNotFoundException; AWSOrganizationsNotInUseException;
// AccessDeniedException; InvalidInputException.
func (s *Service) ListChildren(ctx context.Context, in *orgapi.ListChildrenInput) (*orgapi.ListChildrenOutput, error) {
	out := &orgapi.ListChildrenOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		parent, err := s.parent(tx, o, in.ParentId, noParent())
		if err != nil {
			return err
		}
		key := store.Key{o.ID, parent.id}
		part := rows(s.accounts, byParent, key, func(_ *store.Tx, a *accountRow) (orgapi.Child, bool, error) {
			return orgapi.Child{Id: &a.ID, Type: in.ChildType}, true, nil
		})
		if in.ChildType == orgapi.ChildTypeOrganizationalUnit {
			part = rows(s.units, byParent, key, func(_ *store.Tx, u *unitRow) (orgapi.Child, bool, error) {
				return orgapi.Child{Id: &u.ID, Type: in.ChildType}, true, nil
			})
		}
		l := listing{name: "ListChildren|" + parent.id + "|" + string(in.ChildType), token: in.NextToken, max: in.MaxResults}
		out.Children, out.NextToken, err = list(ctx, s, tx, l, part)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListParents names the root or unit that a unit or account is in.
//
// Errors: ChildNotFoundException; AWSOrganizationsNotInUseException;
// AccessDeniedException; InvalidInputException.
func (s *Service) ListParents(ctx context.Context, in *orgapi.ListParentsInput) (*orgapi.ListParentsOutput, error) {
	out := &orgapi.ListParentsOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		child, err := s.target(tx, o, in.ChildId)
		if err == nil && child.parent == "" {
			err = store.ErrNotFound
		}
		if err != nil {
			return missing(err, "child", orgapi.ChildNotFoundException("You specified a child that doesn't exist."))
		}
		parent := orgapi.Parent{Id: &child.parent, Type: orgapi.ParentTypeOrganizationalUnit}
		if child.parent == o.Root {
			parent.Type = orgapi.ParentTypeRoot
		}
		l := listing{name: "ListParents|" + in.ChildId, token: in.NextToken, max: in.MaxResults}
		out.Parents, out.NextToken, err = list(ctx, s, tx, l, fixed(&parent))
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
