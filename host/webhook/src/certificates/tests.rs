//! What people are told of certificates that are no good.

use test_support::canary;

use super::{testing::made_at, *};
use crate::{Bindings, Target};

/// Remembers what it was told.
#[derive(Default)]
struct Ears(Mutex<Vec<(&'static str, String)>>);

impl Witness for Ears {
    fn answered(&self, _: &str, _: &'static str, _: Duration) {}
    fn reachable(&self, _: bool) {}

    fn announce(&self, reason: &'static str, text: String) {
        self.0.lock().unwrap().push((reason, text));
    }

    fn certificate(&self, _: i64) {}
}

/// Certificates that look once at a folder with these files, and what was announced.
async fn looked(files: &[(&str, &str)], times: usize) -> (Arc<Certificates>, Vec<(&'static str, String)>) {
    let folder = cap_tempfile::tempdir(cap_std::ambient_authority()).unwrap();
    for (name, text) in files {
        folder.write(name, text).unwrap();
    }
    let clock: Clock = Arc::new(|| time::OffsetDateTime::now_utc().unix_timestamp());
    let ears = Arc::new(Ears::default());
    let certificates = Certificates::new(Arc::clone(&clock), Arc::clone(&ears) as Arc<dyn Witness>);
    // Nobody is asked before the first certificate is served.
    let client = Client::try_from(kube::Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
    let (target, leading) = (Target::Url("https://127.0.0.1:1".to_owned()), watch::channel(false).1);
    let registrar =
        Registrar::new(client, target, "own", Arc::new(Bindings::default()), certificates.bundle(), leading, &clock);
    let folder = folder.try_clone().unwrap();
    let mut keeper = Keeper::new(Source::Folder { folder, place: "/certs".to_owned() });
    for _ in 0..times {
        certificates.look(&mut keeper, &registrar).await;
    }
    let announced = ears.0.lock().unwrap().clone();
    (certificates, announced)
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_told_once_with_its_place_and_what_to_do() {
    let made = made_at(1_000_000_000);
    let files = [("tls.crt", &*made.certificate), ("tls.key", &made.key), ("ca.crt", &made.authority)];
    let (certificates, announced) = looked(&files, 3).await;
    assert_eq!(announced.len(), 1, "{announced:?}");
    let (reason, text) = &announced[0];
    assert_eq!(*reason, "CertificateUnusable");
    assert!(text.contains("/certs") && text.contains("expired") && text.contains("renew it"), "{text}");
    assert!(certificates.resolver().is_loaded(), "better than none: its clock may be the wrong one");
}

#[tokio::test]
async fn a_certificate_that_is_none_is_told_once_and_keeps_the_replica_from_being_ready() {
    let (certificates, announced) = looked(&[("tls.crt", "none"), ("tls.key", "none"), ("ca.crt", "none")], 3).await;
    assert_eq!(announced.len(), 1, "{announced:?}");
    assert!(announced[0].1.contains("/certs"), "{announced:?}");
    assert_eq!(certificates.missing().as_ref(), Some(&announced[0].1));
}

#[tokio::test]
async fn what_is_told_of_a_certificate_that_is_no_good_quotes_nothing_of_it() {
    let good = made_at(time::OffsetDateTime::now_utc().unix_timestamp());
    let wrong = canary::contents(&good.certificate, "registry.example.com");
    for text in &wrong {
        for (certificate, key) in [(text, &good.key), (&good.certificate, text), (text, text)] {
            let files = [("tls.crt", &**certificate), ("tls.key", &**key), ("ca.crt", &*good.authority)];
            let (_, announced) = looked(&files, 1).await;
            assert_eq!(announced.len(), 1, "{announced:?}");
            let told = format!("{announced:?} {}", announced[0].1);
            assert!(!canary::is_told(&told), "{told}");
        }
    }
}
