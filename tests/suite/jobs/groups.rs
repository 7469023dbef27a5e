//! Updates of groups of containers.

use std::time::Duration;

use restock::adapters::lock::Locks;

use crate::world::{WEB, World, until};

#[tokio::test]
async fn the_pull_of_a_group_is_the_progress_of_its_containers() {
    let world = World::with_web();
    world.engine.change("web-web-1", |container| container.project.clear());
    world.app("other").service("other", "registry.test/other:1").running();
    world.engine.change("other-other-1", |container| container.project.clear());
    let restock = world.restock().await;
    // Somebody else pulls the image: the group's own pull has begun, and waits.
    let locks = Locks::new(&world.path("data"));
    let pulling = locks
        .images(&restock::domain::host::HostName::local(), &[WEB.to_owned()].into(), Duration::ZERO)
        .await
        .unwrap();
    restock.post(&format!("/api/groups/{WEB}/update")).await.ok();
    let job = until("the pull", || {
        restock.host.service.jobs.running().into_iter().find(|job| job.step.is_some()).map(|job| job.id)
    })
    .await;
    assert_eq!(restock.get("/api/images/web-web-1/progress").await.ok()["status"], "connecting");
    assert_eq!(restock.get("/api/images/other-other-1/progress").await.status, 404, "it is of another group");
    restock.delete(&format!("/api/jobs/{job}")).await.ok();
    restock.idle().await;
    let ended = restock.get("/api/images/web-web-1/progress").await.ok();
    assert!(ended["status"].as_str().unwrap().starts_with("error: the job was cancelled"), "{ended}");
    drop(pulling);
}
