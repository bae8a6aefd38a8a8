//! What is planned for groups of copies, and what is left alone.

use std::fs;

use super::super::keeping::tests::member as member_of;
use super::*;
use crate::presence;

/// A member with the content that its file has now.
fn member(number: u128, kind: Kind, path: &Path) -> Member {
    let content = fs::read(path).unwrap();
    let mut member = member_of(number, kind, &blake3::hash(&content).to_hex());
    member.payload.source = path.parent().unwrap().display().to_string();
    member.payload.key = path.file_name().unwrap().display().to_string();
    member.payload.location = Some(path.display().to_string());
    member
}

/// What is planned where the first of each group is kept.
fn planned(groups: Vec<Vec<Member>>, aside: &Path) -> Plan {
    try_plan(groups, aside, presence::tests::info()).unwrap()
}

fn try_plan(groups: Vec<Vec<Member>>, aside: &Path, info: GalleryInfo) -> Result<Plan, Error> {
    let groups: Vec<Group> = groups
        .into_iter()
        .map(|members| Group { members })
        .collect();
    let verdict = |(group, number): (&Group, usize)| Verdict {
        group: number,
        kept: group.members[0].id,
        kept_too: Vec::new(),
        copies: group.members[1..].iter().map(|member| member.id).collect(),
        rule: None,
        reason: String::new(),
    };
    let verdicts: Vec<Verdict> = groups.iter().zip(1..).map(verdict).collect();
    let action = Action::MoveTo(aside.display().to_string());
    let options = KeepOptions::default();
    plan_in(info, &groups, &verdicts, &options, &action)
}

/// The files that a plan leaves alone, and why.
fn left(plan: &Plan) -> Vec<(&str, LeftBecause)> {
    let name = |place| Path::new(place).file_name().unwrap().to_str().unwrap();
    plan.left
        .iter()
        .map(|left| (name(&left.place), left.because))
        .collect()
}

/// A TIFF file of pages that say no more than what they are for.
fn tiff(kinds: &[u32]) -> Vec<u8> {
    let mut bytes = b"II\x2a\0\x08\0\0\0".to_vec();
    for (page, kind) in kinds.iter().enumerate() {
        bytes.extend([1, 0, 254, 0, 4, 0, 1, 0, 0, 0]);
        bytes.extend(kind.to_le_bytes());
        let next = match page + 1 == kinds.len() {
            true => 0,
            false => bytes.len() as u32 + 4,
        };
        bytes.extend(next.to_le_bytes());
    }
    bytes
}

#[test]
fn files_with_further_pages_stay_unless_what_is_kept_is_the_same() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().canonicalize().unwrap();
    // A picture, a reduced copy of it, and another picture.
    let pages = tiff(&[0, 1, 0]);
    for (name, content) in [
        ("export.png", &b"the first page"[..]),
        ("scan.tif", &pages),
        ("again.tif", &pages),
        ("alone.tif", &tiff(&[0, 1])),
    ] {
        fs::write(folder.join(name), content).unwrap();
    }
    let one = |number, kind, name: &str| member(number, kind, &folder.join(name));
    let members = vec![
        one(1, Kind::Near, "export.png"),
        one(2, Kind::Representative, "scan.tif"),
        one(3, Kind::Exact, "again.tif"),
        one(4, Kind::Near, "alone.tif"),
    ];
    let plan = planned(vec![members], &root.path().with_extension("aside"));
    let pages = LeftBecause::Pages;
    assert_eq!(left(&plan), [("scan.tif", pages), ("again.tif", pages)]);
    assert_eq!(plan.steps.len(), 1, "{plan:?}");

    let members = vec![
        one(2, Kind::Representative, "scan.tif"),
        one(3, Kind::Exact, "again.tif"),
    ];
    let plan = planned(vec![members], &root.path().with_extension("aside"));
    assert_eq!((plan.steps.len(), left(&plan)), (1, Vec::new()));
}

#[test]
fn a_point_that_knows_a_former_content_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().canonicalize().unwrap();
    for (name, content) in [("a.png", "1"), ("b.png", "2"), ("edited.png", "3")] {
        fs::write(folder.join(name), content).unwrap();
    }
    let near = |number, name: &str| member(number, Kind::Near, &folder.join(name));
    // The file was indexed under two sources, and edited before the second.
    let fresh = near(3, "edited.png");
    let mut stale = near(4, "edited.png");
    stale.payload.blake3 = blake3::hash(b"0").to_hex().to_string();
    let groups = vec![vec![near(1, "a.png"), fresh], vec![near(2, "b.png"), stale]];
    let aside = root.path().with_extension("aside");
    for groups in [groups.clone(), groups.into_iter().rev().collect()] {
        let plan = planned(groups, &aside);
        assert_eq!(left(&plan), [("edited.png", LeftBecause::Changed)]);
        let moved: Vec<_> = plan.steps.iter().map(|step| step.id).collect();
        assert_eq!(moved, [Uuid::from_u128(3)]);
    }
}

#[test]
fn copies_are_not_moved_to_where_they_are_or_into_the_gallery() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path().canonicalize().unwrap();
    let photos = root.join("photos");
    fs::create_dir(&photos).unwrap();
    let gallery = root.join("photos.gallery");
    fs::create_dir(&gallery).unwrap();
    for name in ["a.png", "b.png"] {
        fs::write(photos.join(name), "1").unwrap();
    }
    let refused = |folder: &Path| {
        let copies = vec![
            member(1, Kind::Representative, &photos.join("a.png")),
            member(2, Kind::Exact, &photos.join("b.png")),
        ];
        let mut info = presence::tests::info();
        info.name = gallery.display().to_string();
        let refused = try_plan(vec![copies], folder, info).err();
        refused.map(|error| error.to_string())
    };
    assert_eq!(refused(&root.join("aside")), None);
    for (folder, why) in [
        (photos.join("aside"), "it lies in"),
        (root.clone(), "its folder photos"),
        (gallery.clone(), "in the gallery"),
        (gallery.join("aside"), "in the gallery"),
    ] {
        let refused = refused(&folder).unwrap();
        assert!(refused.contains(why), "{refused}");
    }
}
