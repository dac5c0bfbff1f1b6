package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Fault;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;

/**
 * What every registry promises. Each test opens two clients of one empty store, writes through one
 * and looks through the other.
 */
abstract class RegistryContract {
  private final List<Registry> opened = new ArrayList<>();

  /** A client of the store under test; of the same, empty at first, store within one test. */
  abstract Registry connect() throws Exception;

  final Registry open() throws Exception {
    Registry registry = connect();
    opened.add(registry);
    return registry;
  }

  @AfterEach
  void closeAll() {
    opened.reversed().forEach(Registry::close);
  }

  @Test
  void createsAModelOnceAndReturnsTheOneThatStands() throws Exception {
    Registry a = open();
    Registry b = open();
    Model first = Samples.model("iris");
    Model second = Model.of("iris", "xgboost", "elsewhere", "", 3);

    assertEquals(first, a.createModel(first));
    assertEquals(first, a.view().model("iris"), "a write is in the writer's view when it returns");
    assertEquals(first, b.createModel(second));
    assertEquals(first, b.view().model("iris"));
    assertEquals(1, b.view().modelCount());
  }

  @Test
  void createsAModelOnceWhenManyTryAtTheSameTime() throws Exception {
    Registry a = open();
    Registry b = open();
    List<Callable<Model>> tries = new ArrayList<>();
    for (int i = 0; i < 32; i++) {
      Model mine = Model.of("contended", "onnx", "path-" + i, "", i);
      Registry through = i % 2 == 0 ? a : b;
      tries.add(() -> through.createModel(mine));
    }
    List<Model> results = together(tries);
    assertEquals(1, results.stream().distinct().count(), () -> "all see one winner: " + results);
  }

  @Test
  void createsManyModelsAskedForAtTheSameTimeEachForItself() throws Exception {
    Registry a = open();
    Registry b = open();
    b.createModel(Model.of("m-7", "xgboost", "stood before", "", 1));
    List<Callable<Model>> tries = new ArrayList<>();
    for (int i = 0; i < 400; i++) {
      // Each id is asked for twice with different paths, and one stood before.
      Model mine = Model.of("m-" + i % 200, "onnx", "path-" + i, "", i);
      tries.add(
          () -> {
            Model standing = a.createModel(mine);
            assertEquals(standing, a.view().model(mine.id()), "in the writer's view");
            return standing;
          });
    }
    List<Model> results = together(tries);
    await("b sees all", () -> b.view().modelCount() == 200);
    for (int i = 0; i < 400; i++) {
      assertEquals(results.get(i), b.view().model("m-" + i % 200));
      assertEquals(results.get(i), results.get((i + 200) % 400), "both callers hear of one");
    }
    assertEquals("stood before", results.get(7).path());
  }

  @Test
  void aPodIdIsNotTakenByAnotherPodWhileItsOwnerLives() throws Exception {
    Registry a = open();
    Registry b = open();
    PodSession session = a.join(Samples.pod("p"));
    RegistryException e =
        assertThrows(RegistryException.class, () -> b.join(Samples.podAt("p", "10.0.0.2:8033")));
    String message = String.valueOf(e.getMessage());
    assertTrue(message.contains("'p'") && message.contains("10.0.0.1:8033"), message);
    session.publish("m", Samples.LOADED, 1);
    assertTrue(session.flush(30_000), "the owner serves on");
    session.close();
    b.join(Samples.podAt("p", "10.0.0.2:8033"));
    await(
        "the id is the other's",
        () -> {
          Pod now = a.view().pod("p");
          return now != null && now.address().equals("10.0.0.2:8033");
        });
  }

  @Test
  void aPodThatStartsAgainAtTheSameAddressTakesItsIdOverAtOnce() throws Exception {
    Registry a = open();
    PodSession before = a.join(Samples.pod("p"));
    before.publish("m", Samples.LOADED, 1);
    assertTrue(before.flush(30_000));
    Registry b = open();
    Pod again = Samples.pod("p", 3);
    b.join(again);
    await("it stands", () -> again.equals(b.view().pod("p")));
  }

  @Test
  void deletesAModelOnceAndLetsItComeBack() throws Exception {
    Registry a = open();
    Registry b = open();
    a.createModel(Samples.model("m"));
    await("b sees it", () -> b.view().model("m") != null);

    assertTrue(b.deleteModel("m"));
    assertNull(b.view().model("m"));
    assertFalse(a.deleteModel("m"));
    assertFalse(a.deleteModel("never was"));
    await("a sees it gone", () -> a.view().model("m") == null && a.view().modelCount() == 0);

    Model again = Model.of("m", "onnx", "new", "", 4);
    assertEquals(again, a.createModel(again));
    await("b sees the new one", () -> again.equals(b.view().model("m")));
  }

  @Test
  void takesAnyIdHoweverStrange() throws Exception {
    Registry a = open();
    Registry b = open();
    PodSession session = a.join(Samples.pod("pod/with/slashes %2F"));
    for (String id : List.of("a/b", "a", "a/", "/", "%", "%2F", "ümläut/日本/😀", " ", "a b", "..")) {
      Model model = Samples.model(id);
      a.createModel(model);
      session.publish(id, Samples.LOADED, 5);
      Alias alias = Samples.alias(id, id, id);
      assertTrue(a.compareAndSetAlias(id, null, alias));
      await(
          "b has all of '" + id + "'",
          () ->
              model.equals(b.view().model(id))
                  && alias.equals(b.view().alias(id))
                  && b.view().copy("pod/with/slashes %2F", id) != null);
    }
    assertEquals(10, b.view().modelCount());
  }

  @Test
  void replacesAnAliasOnlyWhenItIsAsExpected() throws Exception {
    Registry a = open();
    Registry b = open();
    Alias one = Samples.alias("prod", "m1", "m1");
    Alias two = Samples.alias("prod", "m1", "m2");

    assertFalse(a.compareAndSetAlias("prod", one, two), "absent is not 'one'");
    assertTrue(a.compareAndSetAlias("prod", null, one));
    assertFalse(b.compareAndSetAlias("prod", null, two), "it exists");
    assertTrue(b.compareAndSetAlias("prod", one, two));
    assertEquals(two, b.view().alias("prod"));
    assertFalse(a.compareAndSetAlias("prod", one, null), "it has changed");
    assertTrue(a.compareAndSetAlias("prod", two, null));
    assertFalse(a.compareAndSetAlias("prod", two, null), "it is gone");
    await(
        "both see it gone", () -> a.view().alias("prod") == null && b.view().alias("prod") == null);
    assertTrue(a.compareAndSetAlias("prod", null, null), "absent is as expected");
    assertThrows(IllegalArgumentException.class, () -> a.compareAndSetAlias("other", null, one));
  }

  @Test
  void losesNoneOfManyConcurrentAliasChanges() throws Exception {
    int threads = 16;
    int each = aliasChangesPerThread();
    Registry a = open();
    Registry b = open();
    assertTrue(a.compareAndSetAlias("counter", null, Samples.alias("counter", "0", "")));
    // A write is at once in the view of its writer alone.
    await("the counter is seen by both", () -> b.view().alias("counter") != null);
    List<Callable<Integer>> workers = new ArrayList<>();
    for (int t = 0; t < threads; t++) {
      Registry through = t % 2 == 0 ? a : b;
      workers.add(
          () -> {
            for (int done = 0; done < each; ) {
              Alias now = alias(through, "counter");
              int next = Integer.parseInt(now.activeModelId()) + 1;
              if (through.compareAndSetAlias(
                  "counter", now, Samples.alias("counter", "" + next, ""))) {
                done++;
              }
            }
            return each;
          });
    }
    together(workers);
    await(
        "the counter is " + threads * each + " for both",
        () ->
            List.of(a, b).stream()
                .allMatch(r -> alias(r, "counter").activeModelId().equals("" + threads * each)));
  }

  /** How many changes each of the 16 threads makes. */
  int aliasChangesPerThread() {
    return 200;
  }

  @Test
  void showsAPodAndItsCopiesToOthersUntilItsSessionCloses() throws Exception {
    Registry a = open();
    Registry b = open();
    PodSession session = a.join(Samples.pod("p1"));
    assertNotNull(a.view().pod("p1"));
    session.publish("m1", new CopyState.Loading(), 1);
    session.publish("m1", Samples.LOADED, 2);
    session.publish("m2", new CopyState.FailedToLoad(Fault.PERMANENT, "no such file", 77), 3);
    session.publish("m3", Samples.LOADED, 4);
    session.publish("m3", new CopyState.Unloading(), 5);
    session.publish(Samples.pod("p1", 9));
    assertTrue(session.flush(30_000));

    await(
        "b sees pod and copies",
        () ->
            b.view().copiesIn("p1").size() == 2
                && b.view().copies("m1").size() == 1
                && copy(b, "p1", "m1").isLoaded()
                && Samples.pod("p1", 9).equals(b.view().pod("p1")));
    assertEquals(2, copy(b, "p1", "m1").sinceMs());
    assertEquals(
        new CopyState.FailedToLoad(Fault.PERMANENT, "no such file", 77),
        copy(b, "p1", "m2").state());

    session.withdraw("m2");
    session.withdraw("never published");
    await("m2 is gone", () -> b.view().copies("m2").isEmpty());

    session.close();
    session.close();
    await("all gone", () -> b.view().pods().isEmpty() && b.view().copiesIn("p1").isEmpty());
    session.publish("m1", Samples.LOADED, 9);
    session.publish(Samples.pod("p1"));
    assertFalse(session.flush(100), "a closed session stores nothing");
    assertTrue(b.view().pods().isEmpty());
  }

  @Test
  void lastWordOnACopyWins() throws Exception {
    Registry a = open();
    Registry b = open();
    PodSession session = a.join(Samples.pod("p"));
    for (int i = 0; i < 500; i++) {
      session.publish("kept", Samples.LOADED, i);
      session.publish("dropped", Samples.LOADED, i);
      session.withdraw(i % 2 == 0 ? "kept" : "dropped");
      session.publish("kept", Samples.LOADED, i + 1_000);
      session.withdraw("dropped");
    }
    assertTrue(session.flush(30_000));
    b.createModel(Samples.model("fence"));
    a.createModel(Samples.model("fence2"));
    await("b is up to date", () -> b.view().model("fence2") != null);
    assertNull(b.view().copy("p", "dropped"));
    assertEquals(1_499, copy(b, "p", "kept").sinceMs());
  }

  @Test
  void refusesToPublishForAnotherPod() throws Exception {
    PodSession session = open().join(Samples.pod("me"));
    assertThrows(IllegalArgumentException.class, () -> session.publish(Samples.pod("you")));
  }

  @Test
  void listenersHearEveryViewInOrderFromTheCurrentOneOn() throws Exception {
    Registry a = open();
    Registry b = open();
    a.createModel(Samples.model("before"));
    await("b sees it", () -> b.view().model("before") != null);
    List<MeshView> heard = Collections.synchronizedList(new ArrayList<>());
    AtomicReference<Thread> thread = new AtomicReference<>();
    Registry.Subscription subscription =
        b.listen(
            view -> {
              heard.add(view);
              thread.set(Thread.currentThread());
            });
    assertEquals(1, heard.size(), "called before listen returns");
    assertNotNull(heard.getFirst().model("before"));
    assertTrue(thread.get() != Thread.currentThread(), "on the registry's own thread");

    for (int i = 0; i < 100; i++) {
      a.createModel(Samples.model("m" + i));
    }
    await("the last is heard", () -> heard.getLast().model("m99") != null);
    for (int i = 1; i < heard.size(); i++) {
      assertTrue(heard.get(i - 1).revision() < heard.get(i).revision(), "revisions rise");
      assertTrue(heard.get(i - 1).modelCount() <= heard.get(i).modelCount());
    }
    subscription.close();
    subscription.close();
    int before = heard.size();
    a.createModel(Samples.model("after"));
    await("b goes on", () -> b.view().model("after") != null);
    AtomicInteger marker = new AtomicInteger();
    b.listen(view -> marker.incrementAndGet()).close();
    assertEquals(before, heard.size(), "a closed subscription hears nothing");
  }

  @Test
  void aListenerThatThrowsHurtsNobodyElse() throws Exception {
    Registry a = open();
    a.listen(
        view -> {
          throw new IllegalStateException("thrown on purpose by a test");
        });
    AtomicInteger heard = new AtomicInteger();
    a.listen(view -> heard.incrementAndGet());
    a.createModel(Samples.model("m"));
    await("the other one hears", () -> heard.get() == 2);
  }

  @Test
  void clientsThatJoinLateMissNothing() throws Exception {
    Registry writer = open();
    AtomicInteger written = new AtomicInteger();
    PodSession session = writer.join(Samples.pod("w"));
    int total = 5_000;
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      Future<?> writing =
          threads.submit(
              () -> {
                for (int i = 0; i < total; i++) {
                  switch (i % 5) {
                    case 0 -> writer.createModel(Samples.model("m" + i));
                    case 1 -> session.publish("m" + (i - 1), Samples.LOADED, i);
                    case 2 -> session.publish("m" + (i / 2), new CopyState.Loading(), i);
                    case 3 -> writer.deleteModel("m" + (i / 3) / 5 * 5);
                    default -> session.withdraw("m" + (i / 4));
                  }
                  written.incrementAndGet();
                }
                return null;
              });
      List<Registry> late = new ArrayList<>();
      for (int joined = 0; joined < 6; joined++) {
        int at = joined * total / 6;
        await("the writer reaches " + at, () -> written.get() >= at || writing.isDone());
        late.add(open());
      }
      writing.get(120, TimeUnit.SECONDS);
      assertTrue(session.flush(30_000));
      writer.createModel(Samples.model("end"));
      for (Registry registry : late) {
        await("the end is seen", () -> registry.view().model("end") != null);
        assertEquals(Samples.content(writer.view()), Samples.content(registry.view()));
      }
    }
  }

  @Test
  void electsExactlyOneAndTheNextOneWhenItLeaves() throws Exception {
    AtomicInteger leaders = new AtomicInteger();
    AtomicInteger most = new AtomicInteger();
    AtomicInteger elections = new AtomicInteger();
    List<Registry.Subscription> candidates = Collections.synchronizedList(new ArrayList<>());
    List<AtomicReference<Boolean>> leads = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      AtomicReference<Boolean> lead = new AtomicReference<>(false);
      leads.add(lead);
      candidates.add(
          open()
              .campaign(
                  "candidate-" + i,
                  standing -> {
                    boolean now = standing.leads();
                    if (lead.getAndSet(now) ^ now) {
                      most.accumulateAndGet(leaders.addAndGet(now ? 1 : -1), Math::max);
                      elections.addAndGet(now ? 1 : 0);
                    }
                  }));
    }
    for (int round = 1; round <= 4; round++) {
      int reign = round;
      await("one leads in round " + round, () -> elections.get() == reign && leaders.get() == 1);
      int leader = -1;
      for (int i = 0; i < 4; i++) {
        leader = leads.get(i).get() ? i : leader;
      }
      candidates.get(leader).close();
      candidates.get(leader).close();
    }
    await("nobody leads in the end", () -> leaders.get() == 0);
    assertEquals(1, most.get(), "never two at once");
    assertEquals(4, elections.get());
  }

  @Test
  void whoIsNextLeadsWhenTheLeaderLeavesAndNobodyElse() throws Exception {
    Map<String, Standing> standings = new ConcurrentHashMap<>();
    Map<String, Registry.Subscription> candidates = new HashMap<>();
    for (String id : List.of("a", "b", "c", "d")) {
      candidates.put(id, open().campaign(id, now -> standings.put(id, now)));
    }
    for (int left = 4; left > 0; left--) {
      int there = left;
      await(
          "a leader, one who is next, and all know",
          () ->
              count(standings, Standing.Place.LEADS) == 1
                  && count(standings, Standing.Place.NEXT) == Math.min(1, there - 1)
                  && standings.values().stream().map(Standing::leaderId).distinct().count() == 1
                  && standings.size() == there);
      String leader = at(standings, Standing.Place.LEADS);
      assertEquals(new Standing(Standing.Place.LEADS, leader), standings.get(leader));
      String next = left == 1 ? "" : at(standings, Standing.Place.NEXT);
      Objects.requireNonNull(candidates.get(leader)).close();
      await("it no longer leads", () -> standings.get(leader) == Standing.NONE);
      standings.remove(leader);
      if (left > 1) {
        await("one leads", () -> count(standings, Standing.Place.LEADS) == 1);
        assertEquals(next, at(standings, Standing.Place.LEADS));
      }
    }
  }

  private static long count(Map<String, Standing> standings, Standing.Place place) {
    return standings.values().stream().filter(standing -> standing.place() == place).count();
  }

  private static String at(Map<String, Standing> standings, Standing.Place place) {
    return standings.entrySet().stream()
        .filter(one -> one.getValue().place() == place)
        .findFirst()
        .orElseThrow()
        .getKey();
  }

  @Test
  void failsWritesAfterCloseAndKeepsTheLastView() throws Exception {
    Registry a = open();
    a.createModel(Samples.model("m"));
    a.close();
    a.close();
    assertFalse(a.connected());
    assertNotNull(a.view().model("m"));
    assertThrows(RegistryException.class, () -> a.createModel(Samples.model("n")));
    assertThrows(RegistryException.class, () -> a.join(Samples.pod("p")));
  }

  @Test
  void aClosedRegistryTakesItsPodsAlong() throws Exception {
    Registry a = open();
    PodSession session = a.join(Samples.pod("p"));
    session.publish("m", Samples.LOADED, 1);
    assertTrue(session.flush(30_000));
    assertTrue(a.connected());
    Registry b = open();
    await("b sees the pod", () -> b.view().copy("p", "m") != null);
    a.close();
    await("it is gone", () -> b.view().pods().isEmpty() && b.view().copiesIn("p").isEmpty());
  }

  static void await(String what, Callable<Boolean> condition) throws Exception {
    Await.until(what, condition);
  }

  static Alias alias(Registry registry, String name) {
    return Objects.requireNonNull(registry.view().alias(name), name);
  }

  static Copy copy(Registry registry, String podId, String modelId) {
    return Objects.requireNonNull(registry.view().copy(podId, modelId), modelId);
  }

  static <T> List<T> together(List<Callable<T>> tasks) throws Exception {
    List<T> results = new ArrayList<>();
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      for (Future<T> result : threads.invokeAll(tasks, 300, TimeUnit.SECONDS)) {
        results.add(result.get());
      }
    }
    return results;
  }
}
