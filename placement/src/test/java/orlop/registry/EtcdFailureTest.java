package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.ByteSequence;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import orlop.api.TcpProxy;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.MeshView;
import orlop.placement.Model;

/**
 * What holds while etcd, or the network to it, fails: a real server is killed, frozen, compacted,
 * wiped and cut off.
 */
@Tag("slow")
class EtcdFailureTest extends WithEtcd {
  @Test
  void losesNoConfirmedWriteWhenEtcdIsKilledUnderLoad() throws Exception {
    EtcdRegistry a = connect(10_000);
    PodSession session = a.join(Samples.pod("p"));
    AtomicBoolean enough = new AtomicBoolean();
    Map<String, Model> created = new ConcurrentHashMap<>();
    AtomicInteger refused = new AtomicInteger();
    AtomicLong slowestMs = new AtomicLong();
    int threads = 8;
    AtomicInteger[] confirmed = new AtomicInteger[threads];
    AtomicInteger[] doubtful = new AtomicInteger[threads];
    List<Future<?>> workers = new ArrayList<>();
    try (ExecutorService pool = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int t = 0; t < threads; t++) {
        int me = t;
        confirmed[me] = new AtomicInteger();
        doubtful[me] = new AtomicInteger();
        workers.add(
            pool.submit(
                () -> {
                  for (int i = 0; !enough.get(); i++) {
                    long begun = System.nanoTime();
                    try {
                      Model model = Samples.model("m-" + me + "-" + i);
                      created.put(model.id(), a.createModel(model));
                      Alias now = a.view().alias("count-" + me);
                      int value = now == null ? 0 : Integer.parseInt(now.activeModelId());
                      Alias next = Samples.alias("count-" + me, "" + (value + 1), "");
                      if (a.compareAndSetAlias("count-" + me, now, next)) {
                        confirmed[me].incrementAndGet();
                      }
                    } catch (RegistryException e) {
                      refused.incrementAndGet();
                      doubtful[me].incrementAndGet();
                    }
                    slowestMs.accumulateAndGet(
                        TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun), Math::max);
                    session.publish("m-" + me, Samples.LOADED, i);
                  }
                  return null;
                }));
      }
      for (int round = 1; round <= 3; round++) {
        int least = created.size() + 200;
        Await.until("writes go on in round " + round, () -> created.size() >= least);
        etcd.kill();
        etcd.restart();
      }
      int least = created.size() + 200;
      Await.until("writes go on in the end", () -> created.size() >= least);
      enough.set(true);
      for (Future<?> worker : workers) {
        worker.get(60, TimeUnit.SECONDS);
      }
    }
    assertTrue(session.flush(30_000));
    EtcdRegistry fresh = connect(10_000);
    created.forEach((id, model) -> assertEquals(model, fresh.view().model(id), id));
    for (int t = 0; t < threads; t++) {
      int stands = Integer.parseInt(RegistryContract.alias(fresh, "count-" + t).activeModelId());
      int least = confirmed[t].get();
      int most = least + doubtful[t].get();
      assertTrue(least <= stands && stands <= most, least + " <= " + stands + " <= " + most);
      assertNotNull(fresh.view().copy("p", "m-" + t));
    }
    Await.until(
        "both views agree", () -> Samples.content(a.view()).equals(Samples.content(fresh.view())));
    assertTrue(slowestMs.get() < 25_000, "no call hangs: " + slowestMs + " ms");
    System.err.println(
        created.size()
            + " models confirmed, "
            + refused
            + " refused, slowest "
            + slowestMs
            + " ms");
  }

  @Test
  void keepsLeaseAndViewThroughAnOutageShorterThanTheLease() throws Exception {
    EtcdRegistry pod = connect(20_000);
    EtcdSession session = (EtcdSession) pod.join(Samples.pod("p"));
    session.publish("m", Samples.LOADED, 1);
    assertTrue(session.flush(30_000));
    EtcdRegistry other = connect(20_000);
    long lease = session.leaseId();
    List<MeshView> without = Collections.synchronizedList(new ArrayList<>());
    other.listen(view -> missing(view, without));
    pod.listen(view -> missing(view, without));

    etcd.kill();
    Await.until("the outage is noticed", () -> !pod.connected() && !other.connected());
    session.publish("during", Samples.LOADED, 2);
    assertNotNull(other.view().copy("p", "m"), "stale routing beats none");
    etcd.restart();
    Await.until("connected again", () -> pod.connected() && other.connected());
    Await.until("what was published meanwhile", () -> other.view().copy("p", "during") != null);
    pass(1_000);
    assertEquals(lease, session.leaseId());
    assertEquals(List.of(), without, "the pod was there all the time");
  }

  private static void missing(MeshView view, List<MeshView> without) {
    if (view.pod("p") == null || view.copy("p", "m") == null) {
      without.add(view);
    }
  }

  @Test
  void publishesAllAgainAfterAnOutageLongerThanTheLease() throws Exception {
    EtcdRegistry pod = connect(2_000);
    TcpProxy network = proxy();
    EtcdRegistry cutOff = connect(network.endpoint(), 2_000, 5_000);
    EtcdSession near = (EtcdSession) pod.join(Samples.pod("near"));
    EtcdSession far = (EtcdSession) cutOff.join(Samples.pod("far"));
    near.publish("m", Samples.LOADED, 1);
    far.publish("m", Samples.LOADED, 1);
    far.publish("taken back", Samples.LOADED, 1);
    assertTrue(near.flush(30_000) && far.flush(30_000));
    EtcdRegistry other = connect(2_000);
    long farLease = far.leaseId();

    // One pod loses the network, so that etcd itself ends its lease.
    network.cut();
    Await.until("the lease ends", () -> other.view().pod("far") == null);
    far.publish("n", Samples.LOADED, 2);
    far.withdraw("taken back");
    assertNotNull(cutOff.view().copy("far", "m"), "the last view stays");
    network.mend();
    Await.until(
        "all is back",
        () ->
            other.view().pod("far") != null
                && other.view().copy("far", "m") != null
                && other.view().copy("far", "n") != null);
    assertNull(other.view().copy("far", "taken back"));
    assertNotEquals(farLease, far.leaseId());

    // Then etcd is away for many times the lease.
    etcd.kill();
    pass(15_000);
    assertNotNull(other.view().copy("far", "m"), "the last view stays");
    assertFalse(other.connected());
    etcd.restart();
    long back = System.nanoTime();
    Await.until(
        "connected again", () -> pod.connected() && cutOff.connected() && other.connected());
    long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - back);
    pass(4_000);
    Await.until(
        "both pods stand",
        () -> other.view().copy("far", "n") != null && other.view().copy("near", "m") != null);
    assertTrue(
        tookMs < 15_000, "reconnects at once, not when the client's back-off is over: " + tookMs);
    System.err.println("connected " + tookMs + " ms after a restart that followed 15 s of outage");
  }

  @Test
  void publishesAllAgainWhenTheLeaseIsRevokedBehindItsBack() throws Exception {
    EtcdRegistry pod = connect(10_000);
    EtcdRegistry other = connect(10_000);
    EtcdSession session = (EtcdSession) pod.join(Samples.pod("p"));
    session.publish("m", Samples.LOADED, 1);
    assertTrue(session.flush(30_000));
    Await.until("seen", () -> other.view().copy("p", "m") != null);
    AtomicBoolean vanished = new AtomicBoolean();
    other.listen(view -> vanished.compareAndSet(false, view.pod("p") == null));

    long lease = session.leaseId();
    other.store().client().getLeaseClient().revoke(lease).get(30, TimeUnit.SECONDS);
    Await.until("it vanished", vanished::get);
    Await.until(
        "it is back", () -> other.view().pod("p") != null && other.view().copy("p", "m") != null);
    assertNotEquals(lease, session.leaseId());
  }

  @Test
  void writesAgainWhatOthersRemovedAndRemovesWhatItDoesNotHold() throws Exception {
    EtcdRegistry pod = connect(2_000);
    EtcdSession session = (EtcdSession) pod.join(Samples.pod("p"));
    session.publish("m", Samples.LOADED, 1);
    assertTrue(session.flush(30_000));
    Keyspace keys = new Keyspace("orlop", "m");
    var kv = pod.store().client().getKVClient();
    kv.delete(EtcdStore.bytes(keys.copy("p", "m"))).get(30, TimeUnit.SECONDS);
    Await.until("it is removed", () -> pod.view().copy("p", "m") == null);
    Await.until("it is back", () -> pod.view().copy("p", "m") != null);

    kv.put(
            EtcdStore.bytes(keys.copy("p", "ghost")),
            ByteSequence.from(new Values().encode(new Copy("", "", Samples.LOADED, 1))))
        .get(30, TimeUnit.SECONDS);
    Await.until("the ghost appears", () -> pod.view().copy("p", "ghost") != null);
    Await.until("the ghost is gone", () -> pod.view().copy("p", "ghost") == null);
  }

  @Test
  void readsAllAgainWhenEtcdCompactedWhatTheWatchMissed() throws Exception {
    EtcdRegistry writer = connect(10_000);
    TcpProxy network = proxy();
    EtcdRegistry reader = connect(network.endpoint(), 10_000, 5_000);
    PodSession session = writer.join(Samples.pod("p"));
    for (int i = 0; i < 50; i++) {
      writer.createModel(Samples.model("old" + i));
      session.publish("old" + i, Samples.LOADED, 1);
    }
    writer.compareAndSetAlias("a", null, Samples.alias("a", "old1", "old1"));
    Await.until("the reader follows", () -> reader.view().alias("a") != null);
    Model kept = reader.view().model("old40");
    long reads = reader.feed().fullReads();

    network.cut();
    for (int i = 0; i < 25; i++) {
      writer.deleteModel("old" + i);
      session.withdraw("old" + i);
      writer.createModel(Samples.model("new" + i));
    }
    writer.compareAndSetAlias("a", Samples.alias("a", "old1", "old1"), null);
    assertTrue(session.flush(30_000));
    writer.createModel(Samples.model("last"));
    var kv = writer.store().client().getKVClient();
    long revision =
        kv.get(EtcdStore.bytes("x")).get(30, TimeUnit.SECONDS).getHeader().getRevision();
    kv.compact(revision).get(30, TimeUnit.SECONDS);
    assertNull(reader.view().model("last"));

    network.mend();
    Await.until("the reader has all", () -> reader.view().model("last") != null);
    assertEquals(Samples.content(writer.view()), Samples.content(reader.view()));
    assertEquals(reads + 1, reader.feed().fullReads());
    assertTrue(kept == reader.view().model("old40"), "what is equal stays the same object");
    writer.createModel(Samples.model("and on"));
    Await.until("the watch goes on", () -> reader.view().model("and on") != null);
  }

  @Test
  void catchesUpByWatchingWhenTheNetworkWasCut() throws Exception {
    EtcdRegistry writer = connect(10_000);
    TcpProxy network = proxy();
    EtcdRegistry reader = connect(network.endpoint(), 10_000, 5_000);
    long reads = reader.feed().fullReads();
    for (int round = 0; round < 3; round++) {
      network.cut();
      for (int i = 0; i < 300; i++) {
        writer.createModel(Samples.model("m" + round + "-" + i));
      }
      network.mend();
      for (int i = 0; i < 300; i++) {
        writer.createModel(Samples.model("n" + round + "-" + i));
      }
    }
    Await.until("all is there", () -> reader.view().modelCount() == 1_800);
    assertEquals(Samples.content(writer.view()), Samples.content(reader.view()));
    assertEquals(reads, reader.feed().fullReads(), "no full read was needed");
  }

  @Test
  void followsAnEtcdThatWasReplacedByAnEmptyOne() throws Exception {
    EtcdRegistry pod = connect(2_000);
    EtcdSession session = (EtcdSession) pod.join(Samples.pod("p"));
    session.publish("m", Samples.LOADED, 1);
    for (int i = 0; i < 50; i++) {
      pod.createModel(Samples.model("m" + i));
    }
    etcd.kill();
    try (Stream<Path> files = Files.walk(dir.resolve("data"))) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
    etcd.restart();
    Await.until("the view is that of the new store", () -> pod.view().modelCount() == 0);
    Await.until(
        "the pod stands again",
        () -> pod.view().pod("p") != null && pod.view().copy("p", "m") != null);
    pod.createModel(Samples.model("new"));
    assertNotNull(pod.view().model("new"));
  }

  @Test
  void keepsTheViewAndFailsWritesInTimeWhileEtcdIsFrozen() throws Exception {
    EtcdRegistry a = connect(etcd.endpoint(), 60_000, 2_000);
    a.createModel(Samples.model("m"));
    PodSession session = a.join(Samples.pod("p"));

    signal("STOP");
    long begun = System.nanoTime();
    RegistryException late =
        assertThrows(RegistryException.class, () -> a.createModel(Samples.model("n")));
    long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun);
    assertTrue(tookMs < 10_000, tookMs + " ms");
    assertTrue(message(late).contains(etcd.endpoint()), message(late));
    assertTrue(message(late).contains("may or may not"), message(late));
    session.publish("m", Samples.LOADED, 1);
    assertFalse(session.flush(500));
    Await.until("known to be away", () -> !a.connected());
    assertNotNull(a.view().model("m"));
    assertNotNull(a.view().pod("p"));

    signal("CONT");
    Await.until("back", a::connected);
    a.createModel(Samples.model("o"));
    assertTrue(session.flush(30_000));
    Await.until("published", () -> a.view().copy("p", "m") != null);
  }

  @Test
  void namesEndpointAndRemedyWhenNobodyAnswers() throws Exception {
    etcd.kill();
    long begun = System.nanoTime();
    RegistryException refused =
        assertThrows(RegistryException.class, () -> connect(etcd.endpoint(), 2_000, 1_000));
    assertTrue(message(refused).contains(etcd.endpoint()), message(refused));
    assertTrue(message(refused).contains("etcd-server"), message(refused));

    // Something that takes connections and never says a word.
    try (var silent = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
      String endpoint = "http://127.0.0.1:" + silent.getLocalPort();
      RegistryException mute =
          assertThrows(RegistryException.class, () -> connect(endpoint, 2_000, 1_000));
      assertTrue(message(mute).contains(endpoint), message(mute));
    }
    long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun);
    assertTrue(tookMs < 20_000, tookMs + " ms");
  }

  @Test
  void boundsWhatIsInFlightHoweverMuchIsPublished() throws Exception {
    EtcdRegistry a = connect(etcd.endpoint(), 60_000, 20_000);
    // Several pods: a put takes etcd 3.4 longer the more keys its lease has.
    List<EtcdSession> sessions = new ArrayList<>();
    for (int p = 0; p < 12; p++) {
      sessions.add((EtcdSession) a.join(Samples.pod("p" + p)));
    }
    int most = 0;
    for (int i = 0; i < 2_000; i++) {
      for (EtcdSession each : sessions) {
        each.publish("m" + i, Samples.LOADED, i);
      }
      most = Math.max(most, a.store().writesInFlight());
    }
    for (EtcdSession each : sessions) {
      assertTrue(each.flush(240_000), "all are stored; nothing was refused for their number");
    }
    assertTrue(most > 1 && most <= 512, "at most 512 in flight: " + most);
    Await.until("all are seen", () -> a.view().copies("m1999").size() == 12);
    assertEquals(2_000, a.view().copiesIn("p7").size());

    EtcdSession session = sessions.getFirst();
    etcd.kill();
    for (int i = 0; i < 200_000; i++) {
      session.publish("m" + i % 1_000, Samples.LOADED, i);
    }
    assertTrue(session.backlog() <= 1_000, "one entry per key: " + session.backlog());
    etcd.restart();
    assertTrue(session.flush(60_000));
    Await.until(
        "the last word stands", () -> RegistryContract.copy(a, "p0", "m999").sinceMs() == 199_999);
  }

  @Test
  void skipsAndCountsWhatItCannotRead() throws Exception {
    EtcdRegistry a = connect(10_000);
    a.createModel(Samples.model("fine"));
    Keyspace keys = new Keyspace("orlop", "m");
    var kv = a.store().client().getKVClient();
    ByteSequence garbage = ByteSequence.from(new byte[] {10, 99, 1});
    for (String key :
        List.of(
            keys.model("broken"),
            keys.pod("broken"),
            keys.copy("p", "broken"),
            keys.alias("broken"),
            keys.prefix() + "unknown/kind",
            keys.prefix() + "models/%zz")) {
      kv.put(EtcdStore.bytes(key), garbage).get(30, TimeUnit.SECONDS);
    }
    kv.put(ByteSequence.from(bytesWithBadUtf8(keys.prefix() + "models/")), garbage)
        .get(30, TimeUnit.SECONDS);
    kv.put(EtcdStore.bytes(keys.model("fine")), garbage).get(30, TimeUnit.SECONDS);
    a.createModel(Samples.model("later"));
    assertNull(a.view().model("fine"), "unreadable counts as absent");
    assertEquals(1, a.view().modelCount());
    assertTrue(a.unreadableValues() >= 8, "counted: " + a.unreadableValues());
    EtcdRegistry fresh = connect(10_000);
    assertEquals(Samples.content(a.view()), Samples.content(fresh.view()));
    RegistryException e =
        assertThrows(RegistryException.class, () -> a.createModel(Samples.model("broken")));
    assertTrue(message(e).contains("broken"), message(e));
    assertTrue(a.deleteModel("broken"));
    assertEquals("broken", a.createModel(Samples.model("broken")).id());
  }

  private static byte[] bytesWithBadUtf8(String prefix) {
    byte[] bytes = EtcdStore.bytes(prefix + "??").getBytes();
    bytes[bytes.length - 1] = (byte) 0xff;
    bytes[bytes.length - 2] = (byte) 0xc0;
    return bytes;
  }

  @Test
  void closesSoonWhileEtcdIsAway() throws Exception {
    EtcdRegistry pod = connect(10_000);
    EtcdSession session = (EtcdSession) pod.join(Samples.pod("p"));
    try (Registry.Subscription candidate = pod.campaign("c", standing -> {})) {
      for (int i = 0; i < 2 * SessionLease.MAX_KEYS; i++) {
        session.publish("m" + i, Samples.LOADED, 1);
      }
      assertTrue(session.flush(60_000));
      etcd.kill();
      long startNs = System.nanoTime();
      session.close();
      pod.close();
      long tookMs = (System.nanoTime() - startNs) / 1_000_000;
      assertTrue(tookMs < 6_000, "closing took " + tookMs + " ms");
    }
  }

  @Test
  void needsTheRightPasswordWhenEtcdAsksForOne() throws Exception {
    EtcdRegistry open = connect(10_000);
    var auth = open.store().client().getAuthClient();
    auth.roleAdd(EtcdStore.bytes("root")).get(30, TimeUnit.SECONDS);
    auth.userAdd(EtcdStore.bytes("root"), EtcdStore.bytes("secret")).get(30, TimeUnit.SECONDS);
    auth.userGrantRole(EtcdStore.bytes("root"), EtcdStore.bytes("root")).get(30, TimeUnit.SECONDS);
    auth.authEnable().get(30, TimeUnit.SECONDS);
    open.close();

    try (EtcdRegistry right = EtcdRegistry.connect(withPassword("secret"))) {
      right.createModel(Samples.model("m"));
      PodSession session = right.join(Samples.pod("p"));
      assertTrue(session.flush(30_000));
      assertNotNull(right.view().pod("p"));
    }
    assertThrows(RegistryException.class, () -> connect(10_000));
    RegistryException e =
        assertThrows(
            RegistryException.class, () -> EtcdRegistry.connect(withPassword("guess")).close());
    assertFalse(message(e).contains("guess"), message(e));
  }

  private RegistryConfig withPassword(String password) {
    return new RegistryConfig(
        List.of(etcd.endpoint()),
        "orlop",
        "m",
        10_000,
        5_000,
        512,
        5_000,
        "root",
        password,
        RegistryTls.DEFAULTS);
  }
}
