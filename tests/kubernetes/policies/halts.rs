//! The emergency stop: who may pull it, and who may let go.

use serde_json::{Value, json};
use squall::install::ADMIN;

use super::{Answer, User, allowed, denied, governed};

fn halt(name: &str) -> Value {
    json!({ "apiVersion": "squall.dev/v1alpha1", "kind": "Halt", "metadata": { "name": name }, "spec": {} })
}

async fn create(user: &User, object: &Value) -> Answer {
    let how = kube::api::PostParams { dry_run: true, ..Default::default() };
    user.made(None, object.clone(), how).await
}

#[tokio::test]
async fn only_who_has_the_right_halts_and_releases() {
    let governed = governed().await;
    governed.namespaces(&["team"]).await;
    let standing = halt("standing");
    // It stands for the other tests, too: none of them injects anything.
    governed.admin().await.store(None, standing.clone()).await.unwrap();
    let user = governed.user("pager").await;
    governed.bind("pager", "edit", Some("team")).await;
    denied("an editor's Halt", create(&user, &halt("x")).await, "cannot create resource \"halts\"");
    denied("a release", user.delete(None, &standing).await, "cannot delete resource \"halts\"");
    governed.bind("pager", ADMIN, None).await;
    super::eventually("who carries the pager cannot halt", async || create(&user, &halt("x")).await.is_ok())
        .await;
    allowed("a release of who carries the pager", user.delete(None, &standing).await);
    for (what, part) in [
        ("the controller", governed.controller().await),
        ("a daemon", governed.daemon(Some("fake-0000")).await),
    ] {
        denied(what, create(&part, &halt("x")).await, "cannot create resource \"halts\"");
        denied(what, part.delete(None, &standing).await, "cannot delete resource \"halts\"");
    }
    governed
        .admin()
        .await
        .api(None, &standing)
        .delete("standing", &kube::api::DeleteParams::default())
        .await
        .unwrap();
}
