package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static orlop.placement.SmallMesh.attempt;
import static orlop.placement.SmallMesh.draining;
import static orlop.placement.SmallMesh.failed;
import static orlop.placement.SmallMesh.forwarded;
import static orlop.placement.SmallMesh.loaded;
import static orlop.placement.SmallMesh.loading;
import static orlop.placement.SmallMesh.model;
import static orlop.placement.SmallMesh.pod;
import static orlop.placement.SmallMesh.salted;
import static orlop.placement.SmallMesh.tried;
import static orlop.placement.SmallMesh.unloading;

import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Where a call goes: a table of small meshes. */
class RouterTest {
  private static final Route HERE = new Route.Here();

  private final Router router = new Router(new Placer());

  private static SmallMesh mesh() {
    return new SmallMesh().models(model("m", 100)).pods(pod("a"), pod("b"), pod("c"));
  }

  private static void assertRejected(Route.Cause cause, Route route) {
    assertEquals(cause, assertInstanceOf(Route.Reject.class, route).cause());
  }

  @Test
  void rejectsAModelThatNobodyRegistered() {
    Route route = router.route(mesh().view(), attempt("ghost", "a"));
    assertRejected(Route.Cause.UNKNOWN_MODEL, route);
    assertTrue(((Route.Reject) route).detail().contains("'ghost'"));
  }

  @Test
  void servesHereWhenLoadedHereEvenIfOthersHoldItToo() {
    MeshView view = mesh().copy("m", "a", loaded()).copy("m", "b", loaded()).view();
    for (int salt = 0; salt < 50; salt++) {
      assertEquals(HERE, router.route(view, salted("m", "a", salt)));
    }
  }

  @Test
  void prefersALoadedCopyElsewhereOverALoadUnderWayHere() {
    MeshView view = mesh().copy("m", "a", loading()).copy("m", "b", loaded()).view();
    assertEquals(new Route.There(pod("b")), router.route(view, attempt("m", "a")));
  }

  @Test
  void spreadsCallsEvenlyOverTheCopies() {
    MeshView view = mesh().copy("m", "b", loaded()).copy("m", "c", loaded()).view();
    Map<Route, Integer> counts = new HashMap<>();
    for (int salt = 0; salt < 1000; salt++) {
      counts.merge(router.route(view, salted("m", "a", salt)), 1, Integer::sum);
    }
    assertEquals(2, counts.size());
    counts.values().forEach(n -> assertTrue(n > 400, "uneven: " + counts));
  }

  @Test
  void joinsTheLoadUnderWayInsteadOfStartingAnother() {
    MeshView here = mesh().copy("m", "a", loading()).copy("m", "b", loading()).view();
    assertEquals(HERE, router.route(here, attempt("m", "a")));
    MeshView there = mesh().copy("m", "b", loading(), 7).copy("m", "c", loading(), 5).view();
    for (int salt = 0; salt < 50; salt++) {
      assertEquals(new Route.There(pod("c")), router.route(there, salted("m", "a", salt)));
    }
  }

  @Test
  void avoidsADrainingPodWhileAnotherHoldsTheModel() {
    MeshView view =
        mesh().pods(draining(pod("b"))).copy("m", "b", loaded()).copy("m", "c", loaded()).view();
    for (int salt = 0; salt < 50; salt++) {
      assertEquals(new Route.There(pod("c")), router.route(view, salted("m", "a", salt)));
    }
  }

  @Test
  void usesADrainingPodThatAloneHoldsTheModel() {
    MeshView view = mesh().pods(draining(pod("b"))).copy("m", "b", loaded()).view();
    assertEquals(new Route.There(draining(pod("b"))), router.route(view, attempt("m", "a")));
  }

  @Test
  void neverTargetsAPodThatTheViewDoesNotKnow() {
    MeshView view = mesh().copy("m", "ghost", loaded()).copy("m", "spook", loading()).view();
    Route.Load load = assertInstanceOf(Route.Load.class, router.route(view, attempt("m", "a")));
    assertTrue(view.pods().contains(load.pod()));
  }

  @Test
  void neverTargetsAPodThatWasTried() {
    MeshView view = mesh().copy("m", "a", loaded()).copy("m", "b", loaded()).view();
    assertEquals(new Route.There(pod("b")), router.route(view, tried("m", "a", "a")));
    assertEquals(new Route.Load(pod("c")), router.route(view, tried("m", "a", "a", "b")));
  }

  @Test
  void givesUpAfterThreePods() {
    MeshView view = mesh().pods(pod("d")).copy("m", "d", loaded()).view();
    assertRejected(Route.Cause.EXHAUSTED, router.route(view, tried("m", "d", "a", "b", "c")));
  }

  @Test
  void aForwardedCallNeverTravelsOn() {
    MeshView view = mesh().copy("m", "b", loaded()).view();
    assertEquals(new Route.Load(pod("a")), router.route(view, forwarded("m", "a")));
    assertEquals(HERE, router.route(view, forwarded("m", "b")));
    MeshView joining = mesh().copy("m", "a", loading()).copy("m", "b", loaded()).view();
    assertEquals(HERE, router.route(joining, forwarded("m", "a")));
  }

  @Test
  void aForwardedCallIsTurnedBackByAPodThatMayNotLoad() {
    assertRejected(
        Route.Cause.NOT_HERE,
        router.route(mesh().pods(draining(pod("a"))).view(), forwarded("m", "a")));
    assertRejected(
        Route.Cause.NOT_HERE,
        router.route(mesh().copy("m", "a", failed("x", 1000)).view(), forwarded("m", "a")));
    assertRejected(Route.Cause.NOT_HERE, router.route(mesh().view(), forwarded("m", "stranger")));
    assertRejected(
        Route.Cause.NOT_HERE,
        router.route(mesh().models(model("m", 5000)).view(), forwarded("m", "a")));
  }

  @Test
  void aDrainingPodStillServesForwardedCallsForWhatItHolds() {
    MeshView view = mesh().pods(draining(pod("a"))).copy("m", "a", loaded()).view();
    assertEquals(HERE, router.route(view, forwarded("m", "a")));
  }

  @Test
  void reloadsAModelThatIsLeavingWhenOnlyItsPodCan() {
    MeshView view =
        new SmallMesh().models(model("m", 100)).pods(pod("a")).copy("m", "a", unloading()).view();
    assertEquals(new Route.Load(pod("a")), router.route(view, attempt("m", "a")));
  }

  @Test
  void saysWhyNobodyCanLoadIt() {
    MeshView failing =
        mesh()
            .copy("m", "a", failed("no such object", 1000))
            .copy("m", "b", failed("no such object", 1000))
            .copy("m", "c", failed("no such object", 1000))
            .view();
    Route route = router.route(failing, attempt("m", "a"));
    assertRejected(Route.Cause.LOAD_FAILED, route);
    assertTrue(((Route.Reject) route).detail().contains("no such object"));
    assertRejected(
        Route.Cause.NO_ROOM,
        router.route(mesh().models(model("m", 5000)).view(), attempt("m", "a")));
  }
}
