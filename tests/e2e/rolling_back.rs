//! Back by hand.

use crate::both_engines;
use crate::case::Case;

both_engines! {
    the_former_image_comes_back_also_after_a_restart_a_prune_and_a_moved_tag => |kind| {
        let mut case = Case::new(kind, "web");
        let former = case.containers().into_values().next().unwrap()["Image"].clone();
        case.publish("web", "2", "web");
        assert_eq!(case.update().expect(200)["updated"], true);
        case.kill();
        // The engine is the test's own; the filter keeps to images that nothing names.
        case.docker(&["image", "prune", "--force", "--filter", "label=org.opencontainers.image.source"]);
        case.publish("web", "3", "web");
        case.docker(&["pull", "--quiet", &case.reference("web")]);
        case.serve();
        let answer = case.post(&format!("/api/apps/{}/rollback", case.app)).expect(200);
        assert_eq!(answer["outcome"], "rolled_back");
        assert_eq!(answer["services"][0]["to"], former);
        assert!(answer["warnings"][0].as_str().unwrap().contains("data"), "{answer}");
        case.assert_runs("web", "1");
        // Who runs Compose by hand keeps it.
        let ids = case.ids("web");
        case.up();
        assert_eq!(case.ids("web"), ids);
        let again = case.post(&format!("/api/apps/{}/rollback", case.app)).expect(409);
        assert_eq!(again["code"], "nothing_to_roll_back");
        assert_eq!(case.update().expect(200)["updated"], true);
        case.assert_runs("web", "3");
    };

    there_may_be_nothing_to_go_back_to => |kind| {
        let case = Case::new(kind, "web");
        assert_eq!(case.post(&format!("/api/apps/{}/rollback", case.app)).expect(409)["code"], "nothing_to_roll_back");
        case.assert_runs("web", "1");
    };

    an_image_that_is_gone_is_fetched_again_by_its_digest => |kind| {
        let case = Case::new(kind, "web");
        let former = case.containers().into_values().next().unwrap()["Image"].clone();
        case.publish("web", "2", "web");
        // Pulled by hand, the former image has lost its name before the update looks.
        case.docker(&["pull", "--quiet", &case.reference("web")]);
        let job = case.update().expect(200)["job"].as_str().unwrap().to_owned();
        case.docker(&["image", "rm", &format!("restock.local/keep/{}/web:{job}", case.app)]);
        case.docker(&["image", "prune", "--force", "--filter", "label=org.opencontainers.image.version=1"]);
        let answer = case.post(&format!("/api/apps/{}/rollback", case.app)).expect(200);
        assert_eq!(answer["services"][0]["to"], former);
        case.assert_runs("web", "1");
    };
}
