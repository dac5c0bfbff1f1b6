package orlop.puller;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpExchange;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.puller.PullException.Kind;

/**
 * What a caller sees, and what stays on disk, when the store refuses, lies, changes or goes away:
 * against a hand-written server whose every answer can be spoilt.
 */
final class S3FaultsTest {
  private static final byte[] MODEL = Fixtures.bytes(11, 500_000);

  @TempDir Path temp;
  private final AtomicLong nowMs = new AtomicLong(1_000_000);
  private FakeS3 store;
  private ModelPuller puller;

  @BeforeEach
  void open() throws IOException {
    store = new FakeS3();
    store.objects.put("m/model.onnx", MODEL);
    store.objects.put("m/config.json", "{}".getBytes());
    puller = puller(store.storage());
  }

  private ModelPuller puller(StorageConfig storage) {
    return new ModelPuller(
        Fixtures.config(temp.resolve("cache"), 10 << 20, Map.of("default", storage)), nowMs::get);
  }

  @AfterEach
  void close() {
    puller.close();
    store.close();
  }

  private Pulled pull() throws Exception {
    return puller.pull(Fixtures.at("s3://b/m"));
  }

  private void assertServed(Pulled pulled) throws IOException {
    assertArrayEquals(MODEL, Files.readAllBytes(pulled.path().resolve("model.onnx")));
    assertEquals("{}", Files.readString(pulled.path().resolve("config.json")));
  }

  private void assertNothingOnDisk() throws IOException {
    for (String part : new String[] {"entries", "partial", "trash"}) {
      assertEquals(0, Fixtures.children(temp.resolve("cache").resolve(part)), part);
    }
    assertEquals(0, puller.stats().cacheBytes());
  }

  private static void ranges(HttpExchange exchange, byte[] bytes, int sent) throws IOException {
    String[] ends = exchange.getRequestHeaders().getFirst("Range").substring(6).split("-");
    int from = Integer.parseInt(ends[0]);
    int to = Integer.parseInt(ends[1]);
    exchange
        .getResponseHeaders()
        .set("Content-Range", "bytes " + from + "-" + to + "/" + bytes.length);
    FakeS3.cutAfter(exchange, 206, Arrays.copyOfRange(bytes, from, to + 1), sent);
  }

  @Test
  void aSecondPullOfUnchangedContentFetchesNothing() throws Exception {
    try (Pulled first = pull();
        Pulled second = pull()) {
      assertServed(first);
      assertFalse(first.fromDisk());
      assertTrue(second.fromDisk());
      assertEquals(first.directory(), second.directory());
    }
    // 500,000 bytes in parts of 64 KiB are 8 ranges; the second file is one more.
    assertEquals(9, store.gets.get());
    assertEquals(2, store.lists.get());
    assertEquals(1, puller.stats().hits());
    assertEquals(1, puller.stats().misses());
    assertEquals(MODEL.length + 2, puller.stats().bytesPulled());
  }

  @Test
  void believesAListingForAsLongAsItIsTold() throws Exception {
    PullerConfig config =
        Fixtures.config(temp.resolve("other"), 10 << 20, Map.of("default", store.storage()))
            .withRevalidateMs(1_000);
    try (ModelPuller patient = new ModelPuller(config, nowMs::get)) {
      ModelLocation location = Fixtures.at("s3://b/m");
      patient.pull(location).close();
      nowMs.addAndGet(999);
      try (Pulled again = patient.pull(location)) {
        assertTrue(again.fromDisk());
      }
      assertEquals(MODEL.length + 2, patient.sizeBytes(location));
      assertEquals(1, store.lists.get());
      nowMs.addAndGet(1);
      patient.pull(location).close();
      assertEquals(2, store.lists.get());
      patient.purge(location);
      try (Pulled fresh = patient.pull(location)) {
        assertFalse(fresh.fromDisk());
      }
    }
  }

  @Test
  void saysThatAccessIsDeniedWithoutTryingAgain() throws Exception {
    AtomicInteger asked = new AtomicInteger();
    store.fault =
        (exchange, key) -> {
          asked.incrementAndGet();
          FakeS3.error(exchange, 403, "AccessDenied");
          return true;
        };
    PullException e = Fixtures.refused(Kind.FORBIDDEN, this::pull);
    assertTrue(e.getMessage().contains("s3://b/m"), e.getMessage());
    assertTrue(e.getMessage().contains(store.endpoint()), e.getMessage());
    assertTrue(e.getMessage().contains("AccessDenied"), e.getMessage());
    // One listing, and one look for a single object of that name.
    assertEquals(2, asked.get());
  }

  @Test
  void readsAnObjectWhereListingIsForbidden() throws Exception {
    store.fault =
        (exchange, key) -> {
          if (key.isEmpty()) {
            FakeS3.error(exchange, 403, "AccessDenied");
          }
          return key.isEmpty();
        };
    try (Pulled pulled = puller.pull(Fixtures.at("s3://b/m/config.json"))) {
      assertEquals("{}", Files.readString(pulled.path()));
    }
  }

  @Test
  void saysThatTheEndpointIsNoS3() throws Exception {
    for (int status : new int[] {200, 404}) {
      store.fault =
          (exchange, key) -> {
            FakeS3.send(exchange, status, "<html><body>Welcome</body></html>");
            return true;
          };
      PullException e = Fixtures.refused(Kind.BAD_LOCATION, this::pull);
      assertTrue(e.getMessage().contains("is this an S3 endpoint?"), e.getMessage());
      assertTrue(e.getMessage().contains(store.endpoint()), e.getMessage());
    }
    store.fault =
        (exchange, key) -> {
          FakeS3.send(exchange, 200, "not even XML");
          return true;
        };
    PullException e = Fixtures.refused(Kind.BAD_LOCATION, this::pull);
    assertTrue(e.getMessage().contains("is this an S3 endpoint?"), e.getMessage());
  }

  @Test
  void saysThatTheEndpointIsUnreachable() throws Exception {
    int closedPort;
    try (ServerSocket socket = new ServerSocket(0)) {
      closedPort = socket.getLocalPort();
    }
    puller.close();
    for (String endpoint :
        new String[] {"http://127.0.0.1:" + closedPort, "http://no-such-host.invalid"}) {
      puller =
          puller(
              new StorageConfig(
                  "s3",
                  Map.of(
                      "endpoint_url", endpoint, "access_key_id", "i", "secret_access_key", "s")));
      PullException e = Fixtures.refused(Kind.TRANSIENT, this::pull);
      assertTrue(e.getMessage().contains(endpoint), e.getMessage());
      assertEquals(3, puller.stats().retries());
      puller.close();
    }
    puller = puller(store.storage());
    assertNothingOnDisk();
  }

  @Test
  void goesOnWhereATruncatedBodyEnded() throws Exception {
    AtomicInteger cuts = new AtomicInteger();
    store.fault =
        (exchange, key) -> {
          if (!key.equals("m/model.onnx") || cuts.getAndIncrement() > 1) {
            return false;
          }
          ranges(exchange, MODEL, 30_000);
          return true;
        };
    try (Pulled pulled = pull()) {
      assertServed(pulled);
    }
    assertEquals(2, puller.stats().retries());
    assertEquals(
        MODEL.length + 2, puller.stats().bytesPulled(), "no byte may be fetched a second time");
  }

  @Test
  void givesUpOnAStoreThatAlwaysTruncatesAndLeavesNothing() throws Exception {
    store.fault =
        (exchange, key) -> {
          if (!key.equals("m/model.onnx")) {
            return false;
          }
          ranges(exchange, MODEL, 10);
          return true;
        };
    PullException e = Fixtures.refused(Kind.TRANSIENT, this::pull);
    assertTrue(e.getMessage().contains("ended after 10 of"), e.getMessage());
    assertNothingOnDisk();
  }

  @Test
  void startsAfreshWhenTheContentChangesMeanwhile() throws Exception {
    byte[] changed = Fixtures.bytes(12, 400_000);
    AtomicInteger reads = new AtomicInteger();
    store.fault =
        (exchange, key) -> {
          if (key.equals("m/model.onnx") && reads.incrementAndGet() == 5) {
            store.objects.put("m/model.onnx", changed);
          }
          return false;
        };
    try (Pulled pulled = pull()) {
      assertArrayEquals(changed, Files.readAllBytes(pulled.path().resolve("model.onnx")));
    }
    assertEquals(2, store.lists.get());
    assertEquals(1, Fixtures.children(temp.resolve("cache/entries")));
  }

  @Test
  void givesUpOnContentThatNeverStopsChanging() throws Exception {
    AtomicInteger version = new AtomicInteger();
    store.fault =
        (exchange, key) -> {
          if (key.equals("m/model.onnx")) {
            store.etags.put("m/model.onnx", "\"v" + version.incrementAndGet() + "-1\"");
          }
          return false;
        };
    PullException e = Fixtures.refused(Kind.TRANSIENT, this::pull);
    assertTrue(e.getMessage().contains("changed while it was being pulled"), e.getMessage());
    assertEquals(4, store.lists.get(), "as often as there are attempts");
    assertNothingOnDisk();
  }

  @Test
  void refusesBytesThatDoNotMatchTheirMd5() throws Exception {
    store.etags.put("m/config.json", '"' + "0".repeat(32) + '"');
    PullException e = Fixtures.refused(Kind.CORRUPT, this::pull);
    assertTrue(e.getMessage().contains("'m/config.json'"), e.getMessage());
    assertNothingOnDisk();
  }

  @Test
  void refusesBytesThatDoNotMatchTheirStoredChecksum() throws Exception {
    // The ETag of an upload in parts is no MD5, so only the stored CRC can tell.
    store.etags.put("m/model.onnx", "\"upload-2\"");
    store.headers.put("m/model.onnx", Map.of("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="));
    PullException e = Fixtures.refused(Kind.CORRUPT, this::pull);
    assertTrue(e.getMessage().contains("CRC64NVME"), e.getMessage());
    assertNothingOnDisk();
  }

  @Test
  void takesAnEtagOfAnEncryptedObjectForWhatItIs() throws Exception {
    store.etags.put("m/config.json", '"' + "0".repeat(32) + '"');
    store.headers.put("m/config.json", Map.of("x-amz-server-side-encryption", "aws:kms"));
    try (Pulled pulled = pull()) {
      assertServed(pulled);
    }
  }

  @Test
  void refusesAServerThatAnswersARangeWithSomethingElse() throws Exception {
    store.fault =
        (exchange, key) -> {
          if (!key.equals("m/model.onnx")) {
            return false;
          }
          FakeS3.send(exchange, 200, MODEL);
          return true;
        };
    Fixtures.refused(Kind.CORRUPT, this::pull);
    assertNothingOnDisk();
  }

  @Test
  void refusesNamesThatClimbOrClash() throws Exception {
    for (String name : new String[] {"../../evil", "a/../../../evil", "/etc/evil", "a\\..\\b"}) {
      store.objects.put("t/" + name, new byte[1]);
      Fixtures.refused(Kind.BAD_LOCATION, () -> puller.pull(Fixtures.at("s3://b/t")));
      store.objects.remove("t/" + name);
    }
    store.objects.put("t/a", new byte[1]);
    store.objects.put("t/a/b", new byte[1]);
    PullException e =
        Fixtures.refused(Kind.BAD_LOCATION, () -> puller.pull(Fixtures.at("s3://b/t")));
    assertTrue(e.getMessage().contains("both an object and a directory"), e.getMessage());
    assertNothingOnDisk();
  }

  @Test
  void triesAgainWhenTheStoreIsBusy() throws Exception {
    AtomicInteger busy = new AtomicInteger();
    store.fault =
        (exchange, key) -> {
          if (busy.getAndIncrement() >= 3) {
            return false;
          }
          FakeS3.error(exchange, 503, "SlowDown");
          return true;
        };
    try (Pulled pulled = pull()) {
      assertServed(pulled);
    }
    assertEquals(3, puller.stats().retries());
  }

  @Test
  void servesWhatIsOnDiskWhileTheStoreIsAway() throws Exception {
    pull().close();
    int asked = store.lists.get();
    store.stop();
    List<String> logged = new CopyOnWriteArrayList<>();
    Handler log = listener(logged);
    Logger logger = Logger.getLogger(ModelPuller.class.getName());
    logger.addHandler(log);
    try {
      for (int i = 0; i < 10; i++) {
        nowMs.addAndGet(ModelPuller.ASK_AGAIN_MS / 2);
        try (Pulled pulled = pull()) {
          assertServed(pulled);
        }
      }
    } finally {
      logger.removeHandler(log);
    }
    assertEquals(1, logged.size(), () -> "an outage is one line, not " + logged);
    assertEquals(10, puller.stats().stale());
    assertEquals(MODEL.length + 2, puller.sizeBytes(Fixtures.at("s3://b/m")));
    store.restart();
    pull().close();
    assertEquals(asked, store.lists.get(), "asked again before its time");
    // The pool may hold some connections that broke when the store went away.
    for (int i = 0; i < 10 && store.lists.get() == asked; i++) {
      nowMs.addAndGet(ModelPuller.ASK_AGAIN_MS);
      pull().close();
    }
    assertEquals(asked + 1, store.lists.get());
    long stale = puller.stats().stale();
    pull().close();
    assertEquals(stale, puller.stats().stale());
    assertEquals(asked + 2, store.lists.get(), "a store that answers is asked each time");
  }

  private static Handler listener(List<String> logged) {
    return new Handler() {
      @Override
      public void publish(LogRecord line) {
        logged.add(line.getMessage());
      }

      @Override
      public void flush() {}

      @Override
      public void close() {}
    };
  }

  @Test
  void doesNotServeFromDiskWhatTheStoreRefuses() throws Exception {
    pull().close();
    store.fault =
        (exchange, key) -> {
          FakeS3.error(exchange, 403, "AccessDenied");
          return true;
        };
    Fixtures.refused(Kind.FORBIDDEN, this::pull);
  }

  @Test
  void keepsItsContentOverARestartAndSweepsHalfAnEntry() throws Exception {
    pull().close();
    puller.close();
    Path half = temp.resolve("cache/partial/0123.7/content");
    Files.createDirectories(half);
    Files.write(half.resolve("model.onnx"), new byte[100]);
    Path noManifest = temp.resolve("cache/entries/4567/content");
    Files.createDirectories(noManifest);
    Files.write(noManifest.resolve("model.onnx"), new byte[100]);
    puller = puller(store.storage());
    assertEquals(0, Fixtures.children(temp.resolve("cache/partial")));
    assertEquals(1, Fixtures.children(temp.resolve("cache/entries")));
    int gets = store.gets.get();
    try (Pulled pulled = pull()) {
      assertServed(pulled);
      assertTrue(pulled.fromDisk());
    }
    assertEquals(gets, store.gets.get());
  }

  @Test
  void servesWhatIsOnDiskAfterARestartWithoutTheStore() throws Exception {
    pull().close();
    puller.close();
    store.stop();
    puller = puller(store.storage());
    try (Pulled pulled = pull()) {
      assertServed(pulled);
    }
  }

  @Test
  void fetchesAgainWhatSomebodyDeletedFromTheCache() throws Exception {
    Path file;
    try (Pulled pulled = pull()) {
      file = pulled.path().resolve("model.onnx");
    }
    Files.delete(file);
    try (Pulled pulled = pull()) {
      assertServed(pulled);
      assertFalse(pulled.fromDisk());
    }
  }

  @Test
  void neverPrintsASecret() {
    assertFalse(store.storage().toString().contains("secret-text"));
    assertFalse(
        Fixtures.config(temp, 1, Map.of("s", store.storage())).toString().contains("secret-text"));
  }
}
