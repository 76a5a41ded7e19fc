use std::collections::BTreeMap;
use std::io::Read;

use tar::Archive;

use super::*;

/// The files of an archive, by path.
fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = Archive::new(archive);
    let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let (path, mut bytes) = (entry.path().unwrap().display().to_string(), Vec::new());
        entry.read_to_end(&mut bytes).unwrap();
        (path, bytes)
    };
    archive.entries().unwrap().map(read).collect()
}

#[test]
fn an_archive_says_what_it_holds_and_its_digests_are_right() {
    let folder = tempfile();
    let (program, path) = (folder.join("program"), folder.join("image.tar"));
    fs::write(&program, "the program").unwrap();
    let contents = [
        Entry::Folder { at: "/data/db", mode: 0o700, owner: 65532 },
        Entry::Program { from: &program, at: "/own/program" },
        Entry::Link { at: "/own/link", to: "/own/program" },
        Entry::Text { at: "/etc/passwd", text: "root" },
    ];
    let image = Image {
        name: "own:1.2",
        architecture: "amd64",
        entry_point: &["/own/program"],
        command: &["hold"],
        user: "65532:65532",
        port: Some(8080),
        contents: &contents,
    };
    write(&path, &image).unwrap();
    let bytes = fs::read(&path).unwrap();
    write(&path, &image).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes, "the same contents make the same archive");

    let all = files(&bytes);
    let json = |bytes: &[u8]| -> Value { serde_json::from_slice(bytes).unwrap() };
    let blob = |of: &Value| {
        let name = of["digest"].as_str().unwrap();
        let bytes = &all[&format!("blobs/{}", name.replace(':', "/"))];
        assert_eq!(digest(bytes), name);
        assert_eq!(of["size"], bytes.len());
        bytes
    };
    let index = json(&all["index.json"]);
    let named = &index["manifests"][0]["annotations"];
    assert_eq!(named["io.containerd.image.name"], "docker.io/library/own:1.2");
    assert_eq!(named["org.opencontainers.image.ref.name"], "1.2");
    let manifest = json(blob(&index["manifests"][0]));
    let config = json(blob(&manifest["config"]));
    let settings = &config["config"];
    assert_eq!(settings["Entrypoint"], json!(["/own/program"]));
    assert_eq!(settings["Cmd"], json!(["hold"]));
    assert_eq!(settings["User"], "65532:65532");
    assert_eq!(settings["ExposedPorts"], json!({ "8080/tcp": {} }));
    let layer = blob(&manifest["layers"][0]);
    assert_eq!(config["rootfs"]["diff_ids"][0], digest(layer));

    let mut layer = Archive::new(layer.as_slice());
    let seen: Vec<_> = layer
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let link = entry.link_name().unwrap().map(|to| to.display().to_string());
            let path = entry.path().unwrap().display().to_string();
            (path, header.mode().unwrap(), header.uid().unwrap(), header.mtime().unwrap(), link)
        })
        .collect();
    let expected = [
        ("data/", 0o755, 0, None),
        ("data/db/", 0o700, 65532, None),
        ("own/", 0o755, 0, None),
        ("own/program", 0o755, 0, None),
        ("own/link", 0o777, 0, Some("/own/program")),
        ("etc/", 0o755, 0, None),
        ("etc/passwd", 0o644, 0, None),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(path, mode, owner, link)| (path.to_owned(), mode, owner, 0, link.map(str::to_owned)))
        .collect();
    assert_eq!(seen, expected);
    fs::remove_dir_all(folder).unwrap();
}

fn tempfile() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("image-archive-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn short_names_are_spelled_out_as_runtimes_do() {
    for (name, full) in [
        ("movies:0.1.0", "docker.io/library/movies:0.1.0"),
        ("team/movies:1", "docker.io/team/movies:1"),
        ("squall.test/busybox:1", "squall.test/busybox:1"),
        ("machine1:5000/movies:1", "machine1:5000/movies:1"),
        ("localhost/movies:1", "localhost/movies:1"),
    ] {
        assert_eq!(full_name(name), full);
    }
}
