//! What the backup controller may do: by roles of the chart, and no more because of what is in a spec.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the helpers of tests may do what tests may")]

use crate::support::{answer, cases::CASES, child, condition, set, settled, with};
use cas::CasModule;
use insta::assert_snapshot;
use operator_guest::{
    Module, NamespaceRule, native,
    testing::{self, Answer},
};
use serde_json::{Value, json};

const IMAGE: &str = "parent/spec/backup-controller/image";
const WORKLOADS: &str = "scone-cas-backup-workloads";

/// Bindings as `kind place/name: role to account`.
fn bindings(answer: &Answer) -> Vec<String> {
    let children = answer.desired().unwrap().children.iter();
    let bindings = children.filter(|child| child.identity.kind.ends_with("Binding")).map(|child| {
        let document: Value = serde_json::from_slice(&child.document).unwrap();
        let (role, subjects) = (&document["roleRef"], document["subjects"].as_array().unwrap());
        assert_eq!((&role["kind"], subjects.len()), (&json!("ClusterRole"), 1), "{}", child.identity);
        let (namespace, name) = (subjects[0]["namespace"].as_str().unwrap(), subjects[0]["name"].as_str().unwrap());
        format!("{}: {} to {namespace}/{name}", child.identity, role["name"].as_str().unwrap())
    });
    bindings.collect()
}

fn may_make_pods(answer: &Answer) -> bool {
    bindings(answer).iter().any(|binding| binding.contains(WORKLOADS))
}

/// The account under which the pod of the backup controller runs.
fn account(answer: &Answer) -> Value {
    let deployment = child(answer, "Deployment", "cas-backup-controller");
    deployment["spec"]["template"]["spec"]["serviceAccountName"].clone()
}

#[test]
fn the_module_makes_no_role_in_any_case() {
    for case in CASES {
        for child in &answer(&with(case.edits)).desired().unwrap().children {
            assert!(!child.identity.kind.ends_with("Role"), "{}: {}", case.name, child.identity);
        }
    }
}

#[test]
fn the_manifest_hands_on_nothing_and_binds_the_roles_of_the_chart() {
    let grants = CasModule::manifest().grants;
    assert!(grants.roles.is_empty(), "{:?}", grants.roles);
    assert_eq!(grants.binds, ["scone-cas-backup-nodes", "scone-cas-backup-las", WORKLOADS]);
    assert!(!grants.children.iter().any(|rule| rule.kind.ends_with("Role")));
    let binding = grants.children.iter().find(|rule| rule.kind == "RoleBinding").unwrap();
    assert_eq!(binding.namespaces, NamespaceRule::All, "LAS may be in another namespace");
    assert!(CasModule::manifest().finalizer, "nobody else deletes what is there");
}

#[test]
fn nodes_are_seen_everywhere_and_pods_where_las_is_and_in_ones_own_namespace() {
    assert_snapshot!(bindings(&answer(&settled())).join("\n"), @r"
    RoleBinding prod/cas-backup-controller: scone-cas-backup-workloads to prod/cas-backup-controller
    RoleBinding scone-system/scone:prod:cas-backup-controller: scone-cas-backup-las to prod/cas-backup-controller
    ClusterRoleBinding scone:prod:cas-backup-controller: scone-cas-backup-nodes to prod/cas-backup-controller
    ");
    let one = bindings(&answer(&with(&[("settings/namespace", "prod")])));
    assert_eq!(
        one[1],
        "RoleBinding prod/scone:prod:cas-backup-controller: scone-cas-backup-las to prod/cas-backup-controller"
    );
    assert_eq!(one.len(), 3, "the same when both are one namespace");
}

#[test]
fn each_object_has_conditions_of_its_own() {
    let mut types: Vec<_> =
        answer(&settled()).desired().unwrap().conditions.iter().map(|condition| condition.type_.clone()).collect();
    types.sort();
    let all = types.len();
    types.dedup();
    assert_eq!(types.len(), all);
    assert!(types.contains(&"rolebinding.scone.prod.cas-backup-controller/OwnedObjectPresent".to_owned()));
}

#[test]
fn an_image_that_nobody_vouches_for_makes_no_pods_and_it_is_said_why() {
    let foreign = answer(&with(&[(IMAGE, "registry.example.com/mine/backup-controller:6.0.6")]));
    assert!(!may_make_pods(&foreign), "{:?}", bindings(&foreign));
    assert_eq!(bindings(&foreign).len(), 2, "it may still look at nodes and LAS");
    assert_snapshot!(condition(&foreign, "BackupControllerTrusted"), @"False ImageNotVouchedFor: no administrator vouches for images of registry.example.com/mine/backup-controller, so that the backup controller may not make backups: write an image of registry.scontain.com/scone.cloud/backup-controller into spec.backup-controller.image, or have an administrator add registry.example.com/mine/backup-controller to the setting backupImages of module cas, or bind the role by hand: kubectl -n prod create rolebinding cas-backup-controller-unvouched --clusterrole=scone-cas-backup-workloads --serviceaccount=prod:cas-backup-controller-unvouched");
    assert_snapshot!(condition(&answer(&settled()), "BackupControllerTrusted"), @"True ImageVouchedFor: the administrator vouches for images of registry.scontain.com/scone.cloud/backup-controller");
}

/// Another account, in the same pod template as the image: a binding is pruned last, and not while another child is refused, so
/// a pod that kept the account would keep the rights for as long as its author likes.
#[test]
fn an_image_that_nobody_vouches_for_never_runs_under_the_account_that_may_make_pods() {
    let (vouched, foreign) = (answer(&settled()), answer(&with(&[(IMAGE, "registry.example.com/backup-controller")])));
    assert_eq!(account(&vouched), "cas-backup-controller");
    assert_eq!(account(&foreign), "cas-backup-controller-unvouched");
    child(&foreign, "ServiceAccount", "cas-backup-controller-unvouched");
    for binding in bindings(&foreign) {
        assert!(binding.ends_with(" to prod/cas-backup-controller-unvouched"), "{binding}");
    }
}

#[test]
fn a_mirror_that_the_administrator_names_is_vouched_for() {
    let mut mirrored =
        with(&[(IMAGE, "mirror.example.com:5000/scone/backup-controller@sha256:0123456789abcdef0123456789abcdef")]);
    set(&mut mirrored, "settings/backupImages", "[mirror.example.com:5000/scone/backup-controller]");
    assert!(may_make_pods(&answer(&mirrored)));
    assert!(condition(&answer(&mirrored), "BackupControllerTrusted").starts_with("True "));
    assert_eq!(account(&answer(&mirrored)), "cas-backup-controller");
}

#[test]
fn repositories_are_compared_whole() {
    const DIGEST: &str = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let digested = |image: &str| format!("{image}{DIGEST}");
    for (registry, image, vouched) in [
        ("localhost:5000/x", "localhost:5000/x/backup-controller:1", true),
        ("localhost:5000/x", "localhost:5000/x/backup-controller", true),
        ("localhost:5000/x", &digested("localhost:5000/x/backup-controller"), true),
        ("localhost:5000/x", &digested("localhost:5000/x/backup-controller:1"), true),
        ("localhost:5000/x/", "localhost:5000/x/backup-controller:1", true),
        ("localhost:5000", "localhost:5000/backup-controller:1", true),
        ("localhost:5000/x", "localhost:5001/x/backup-controller:1", false),
        ("localhost:5000/x", "localhost/x/backup-controller:1", false),
        ("localhost:5000/x", "localhost:5000/x/backup-controller-mine:1", false),
        ("localhost:5000/x", "localhost:5000/x/backup-controller/mine:1", false),
        ("localhost:5000/x", "localhost:5000/x/mine/backup-controller:1", false),
        ("localhost:5000/x", "evil.example.com/localhost/x/backup-controller:1", false),
        ("localhost:5000/x", "x/backup-controller:1", false),
        ("localhost:5000/x", "backup-controller", false),
        ("localhost:5000/x", &digested("backup-controller"), false),
        ("localhost:5000/x", "localhost:5000/x/cas:1", false),
        ("localhost:5000/x", "Localhost:5000/x/backup-controller:1", false),
        ("x", "docker.io/x/backup-controller:1", false),
    ] {
        let tree = with(&[("settings/registry", registry), (IMAGE, &json!(image).to_string())]);
        assert_eq!(may_make_pods(&answer(&tree)), vouched, "{image} with {registry}");
    }
}

/// What an admission warns of.
fn warnings(backup: &str, settings: &str) -> Vec<String> {
    let object = "apiVersion: services.scone.cloud/v1beta1, kind: CAS, metadata: {name: cas, namespace: prod}";
    let spec = format!("{{backup-controller: {{session: a/b, {backup}}}}}");
    let judgement =
        testing::admit::<CasModule>(&format!("object: {{{object}, spec: {spec}}}\nsettings: {settings}\n")).unwrap();
    assert!(judgement.allowed(), "{judgement}");
    assert!(judgement.warnings.iter().all(|warning| warning.len() <= 120), "{:#?}", judgement.warnings);
    judgement.warnings
}

#[test]
fn a_warning_says_that_nobody_vouches_for_an_image() {
    let foreign = "enabled: true, image: 'm.example.com/backup-controller:1'";
    assert_snapshot!(warnings(foreign, "{}").join("\n"), @r"
    spec.backup-controller.image: nobody vouches for it, so it makes no backups; see BackupControllerTrusted
    take backup-controller of the operator's registry, or have its repository added to backupImages of cas
    ");
    assert!(warnings(foreign, "{backupImages: [m.example.com/backup-controller]}").is_empty());
    assert!(warnings(foreign, "{registry: m.example.com}").is_empty());
    assert!(warnings("enabled: true", "{}").is_empty());
    assert!(warnings("enabled: false, image: 'm.example.com/backup-controller:1'", "{}").is_empty(), "it does not run");
}

#[test]
fn a_setting_that_could_match_no_image_is_refused() {
    let causes = |settings: Value| {
        let causes =
            native::validate_settings::<CasModule>(settings.to_string().into_bytes()).err().unwrap_or_default();
        causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(causes(json!({"backupImages": ["m.example.com:5000/scone/backup-controller", "x/y"]})), "");
    let wrong = json!(["m/backup-controller:1", "m/b@sha256:0123456789abcdef0123456789abcdef", "m/*", ""]);
    assert_snapshot!(causes(json!({"backupImages": wrong})), @r#"
    backupImages[0]: "m/backup-controller:1" is no repository; write one without tag, digest and *, such as mirror/backup-controller
    backupImages[1]: "m/b@sha256:0123456789abcdef0123456789abcdef" is no repository; write one without tag, digest and *, such as mirror/backup-controller
    backupImages[2]: "m/*" is no repository; write one without tag, digest and *, such as mirror/backup-controller
    backupImages[3]: "" is no repository; write one without tag, digest and *, such as mirror/backup-controller
    "#);
}
