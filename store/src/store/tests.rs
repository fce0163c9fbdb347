//! Both kinds of store, the object store in memory.

use super::*;
use serde::Deserialize;
use serde::de::IntoDeserializer;

#[tokio::test]
async fn files_come_back_under_their_names_until_they_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let memory = Arc::new(InMemory::new());
    let bucket = Store::bucket(memory.clone(), "runs/one", "s3://bucket/runs/one");
    let other_run = Store::bucket(memory, "runs/one/deeper", "s3://bucket/runs/one/deeper");
    other_run.write("z", Bytes::from_static(b"another's")).await.unwrap();
    for store in [Store::directory(directory.path().join("made/when/needed")), bucket] {
        assert!(store.names().await.unwrap().is_empty());
        store.write("a", Bytes::from_static(b"first")).await.unwrap();
        store.write("b", Bytes::from_static(b"b")).await.unwrap();
        store.write("a", Bytes::from_static(b"second")).await.unwrap();
        let mut names = store.names().await.unwrap();
        names.sort();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(store.read("a").await.unwrap(), b"second");
        store.remove("a").await.unwrap();
        assert_eq!(store.names().await.unwrap(), ["b"]);
        let error = store.read("a").await.unwrap_err().to_string();
        assert!(
            error.contains("/a") && error.contains("cannot read") | error.contains("not there any more"),
            "{error}"
        );
        store.remove_halves(|_| true).unwrap();
        assert_eq!(store.names().await.unwrap(), ["b"]);
    }
}

#[tokio::test]
async fn folders_and_halves_are_not_listed_as_files() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::directory(directory.path());
    store.write("whole", Bytes::from_static(b"all of it")).await.unwrap();
    std::fs::create_dir(directory.path().join("folder")).unwrap();
    for half in ["whole.0123456789abcdef-7.tmp", "of-an-earlier-release.tmp"] {
        std::fs::write(directory.path().join(half), "half").unwrap();
    }
    assert_eq!(store.names().await.unwrap(), ["whole"]);
}

#[tokio::test]
async fn a_large_file_comes_back_whole() {
    let store = Store::in_memory();
    let bytes: Vec<u8> = (0..40_000_001_u32).map(|i| ((i * 7) >> 3) as u8).collect();
    store.write("large", bytes.clone().into()).await.unwrap();
    assert!(store.read("large").await.unwrap() == bytes);
    assert_eq!(store.names().await.unwrap(), ["large"]);
}

#[tokio::test]
async fn a_directory_that_was_taken_is_not_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let (place, moved) = (directory.path().join("run"), directory.path().join("moved"));
    let (store, _possession) = Store::directory(&place).take(None, |_| {}).await.unwrap();
    store.write("a", Bytes::from_static(b"a")).await.unwrap();
    std::fs::rename(&place, &moved).unwrap();
    let error = store.write("a", Bytes::from_static(b"b")).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot write ") && error.contains("moved or removed") && !place.exists(), "{error}");
    // Somebody else's in its place.
    let (_, _other) = Store::directory(&place).take(None, |_| {}).await.unwrap();
    store.write("a", Bytes::from_static(b"b")).await.unwrap_err();
    assert!(!place.join("a").exists());
    assert_eq!(std::fs::read(moved.join("a")).unwrap(), b"a");
}

#[tokio::test]
async fn stores_in_memory_are_apart() {
    let [one, other] = [Store::in_memory(), Store::in_memory()];
    one.write("a", Bytes::from_static(b"one's")).await.unwrap();
    assert_eq!(one.names().await.unwrap(), ["a"]);
    assert_eq!(one.read("a").await.unwrap(), b"one's");
    assert!(other.names().await.unwrap().is_empty());
}

#[test]
fn locations_are_directories_or_urls_of_known_kinds_however_they_are_read() {
    let told = "`ftp://` is no store: write a directory, file://, s3://, gs:// or az://";
    assert_eq!("ftp://host/x".parse::<StoreLocation>().unwrap_err().to_string(), told);
    let read = |text: &'static str| {
        let text: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
        StoreLocation::deserialize(text)
    };
    assert_eq!(read("ftp://host/x").unwrap_err().to_string(), told);
    assert_eq!(read("s3://bucket/prefix").unwrap(), "s3://bucket/prefix".parse().unwrap());
    assert!(read("").unwrap().is_empty());
    let open = |text: &str| Store::open(&text.parse().unwrap());
    assert_eq!(open("some/where").unwrap().to_string(), "some/where");
    assert_eq!(open("file:///some/where").unwrap().to_string(), "/some/where");
    let error = open("file://some/where").unwrap_err().to_string();
    assert!(error.starts_with("file://some/where: write file:///"), "{error}");
    assert_eq!(open("s3://bucket/prefix").unwrap().to_string(), "s3://bucket/prefix");
    assert_eq!(open("S3://bucket/prefix").unwrap().to_string(), "s3://bucket/prefix");
    let refusal = |text: &str| text.parse::<StoreLocation>().unwrap_err().to_string();
    for url in ["s3://bucket/x?seed=1", "gs://bucket/x#y"] {
        let refused = open(url).unwrap_err().to_string();
        assert!(refused.contains("neither `?` nor `#`"), "{refused}");
    }
    assert_eq!(refusal("s3://"), "`s3://` names no bucket: write s3://.. with one");
    // Not the root of the machine.
    assert_eq!(refusal("file:///"), "`file://` names no directory: write file://.. with one");
    // Quoted, so that no shell made a directory of it.
    assert!(refusal("~/ck").contains("write the path in full, or ./~/ck"));
    assert!("./~/ck".parse::<StoreLocation>().is_ok());
    assert!(refusal("s3:/bucket/prefix").starts_with("`s3:` is followed by one slash or none: write s3://.."));
    assert_eq!(open("./s3:here").unwrap().to_string(), "./s3:here");
}
