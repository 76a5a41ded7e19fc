//! Squall patches with JSON patch and merge patch only: they mean the same for every kind and in both worlds. Server-side
//! apply and strategic merge patch are answered 415 by the in-memory server, and this test keeps them out of the code, so
//! that nothing works in a cluster and fails in the playground.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use kube::client::Body;
use serde_json::Value;
use squall::apiserver::{
    Admission, ApiServer, ByteStream, Cause, Config, LogOptions, NodeAccess, NodeFuture, Resource,
    StatusError,
};
use syn::visit::Visit;

/// `squall install` meets only real API servers and is the one place that may use server-side apply.
const MAY_APPLY: &[&str] = &["src/operations/installation/apply.rs"];

/// The last two segments of what may not be named: `kube::api::Patch::Apply(…)`, `PatchParams::apply(…)`.
const FORBIDDEN: [(&str, &str); 3] = [("Patch", "Apply"), ("Patch", "Strategic"), ("PatchParams", "apply")];

#[derive(Default)]
struct Paths {
    found: Vec<String>,
}

impl Visit<'_> for Paths {
    fn visit_path(&mut self, path: &syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let [.., owner, name] = names.as_slice()
            && FORBIDDEN.contains(&(owner.as_str(), name.as_str()))
        {
            self.found.push(names.join("::"));
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_use_tree(&mut self, tree: &syn::UseTree) {
        // `use Patch::Apply` or `use PatchParams as P` would hide the owner from the check above.
        if let syn::UseTree::Path(path) = tree
            && path.ident == "Patch"
        {
            self.found.push("use …::Patch::…".to_owned());
        }
        if let syn::UseTree::Rename(rename) = tree
            && (rename.ident == "Patch" || rename.ident == "PatchParams")
        {
            self.found.push(format!("use … {} as {}", rename.ident, rename.rename));
        }
        syn::visit::visit_use_tree(self, tree);
    }

    fn visit_lit_str(&mut self, text: &syn::LitStr) {
        if ["apply-patch+", "strategic-merge-patch"].iter().any(|kind| text.value().contains(kind)) {
            self.found.push(text.value());
        }
    }

    fn visit_expr_method_call(&mut self, call: &syn::ExprMethodCall) {
        if call.method == "force" && call.args.is_empty() {
            self.found.push("PatchParams::force".to_owned());
        }
        syn::visit::visit_expr_method_call(self, call);
    }
}

fn forbidden_in(source: &str) -> Vec<String> {
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(source).unwrap());
    paths.found
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn no_code_uses_a_patch_kind_that_the_in_memory_server_lacks() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    assert!(files.len() > 10, "the walk over src/ found next to nothing");
    for file in files {
        let name = file.strip_prefix(root).unwrap();
        if MAY_APPLY.iter().any(|allowed| name == Path::new(allowed)) {
            continue;
        }
        let found = forbidden_in(&std::fs::read_to_string(&file).unwrap());
        assert!(
            found.is_empty(),
            "{} uses {found:?}: patch with Patch::Json or Patch::Merge, which every server answers alike",
            name.display()
        );
    }
}

#[test]
fn the_check_sees_what_it_forbids() {
    for (source, seen) in [
        ("fn f() { api.patch(n, &p, &kube::api::Patch::Apply(x)); }", true),
        ("fn f() { api.patch(n, &p, &Patch::Strategic(x)); }", true),
        ("fn f() { let p = PatchParams::apply(\"squall\"); }", true),
        ("fn f() { let p = params.force(); }", true),
        ("use kube::api::Patch::Apply;", true),
        ("use kube::api::{Api, Patch as P};", true),
        ("const T: &str = \"application/apply-patch+yaml\";", true),
        ("fn f() { api.patch(n, &PatchParams::default(), &Patch::Merge(x)); }", false),
        ("use kube::api::{Patch, PatchParams}; fn f() { Patch::Json::<()>(x); }", false),
    ] {
        assert_eq!(!forbidden_in(source).is_empty(), seen, "{source}");
    }
}

struct Open;

impl Admission for Open {
    fn admit(&self, _resource: &Resource, _old: Option<&Value>, _new: &mut Value) -> Result<(), Vec<Cause>> {
        Ok(())
    }
}

impl NodeAccess for Open {
    fn log(&self, _namespace: &str, _pod: &str, _options: LogOptions) -> NodeFuture<ByteStream> {
        async { Err(StatusError::unavailable("no node")) }.boxed()
    }

    fn proxy(
        &self,
        _namespace: &str,
        _pod: &str,
        _port: Option<u16>,
        _request: Request<Bytes>,
    ) -> NodeFuture<Response<Bytes>> {
        async { Err(StatusError::unavailable("no node")) }.boxed()
    }
}

#[tokio::test]
async fn the_in_memory_server_refuses_them() {
    let server = ApiServer::new(Config::new(Resource::builtin(), Arc::new(Open), Arc::new(Open)));
    let client = server.client("default");
    let path = "/api/v1/namespaces/default/configmaps";
    let create = Request::post(path).body(Body::from(br#"{"metadata":{"name":"a"}}"#.to_vec())).unwrap();
    assert_eq!(client.send(create).await.unwrap().status(), 201);
    for kind in [
        "application/apply-patch+yaml",
        "application/apply-patch+cbor",
        "application/strategic-merge-patch+json",
        "application/cbor",
    ] {
        let request = Request::patch(format!("{path}/a?fieldManager=squall"))
            .header("content-type", kind)
            .body(Body::from(b"{}".to_vec()))
            .unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(response.status(), 415, "{kind}");
        let body = response.into_body().collect_bytes().await.unwrap();
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(status.pointer("/reason"), Some(&"UnsupportedMediaType".into()), "{status}");
    }
}
