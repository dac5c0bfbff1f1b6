package orlop.payload;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import orlop.api.PayloadEvent;
import orlop.api.PayloadEvent.Kind;

/**
 * Goal: an observer gets what it asked for, and one that is dead costs drops alone. Method: real
 * HTTP servers that answer, hang, refuse, fail and come back.
 */
@Tag("slow")
final class ProcessorTest {
  private static final String METHOD = "inference.GRPCInferenceService/ModelInfer";
  private final List<AutoCloseable> opened = new ArrayList<>();
  private final List<String> bodies = new CopyOnWriteArrayList<>();
  private final AtomicInteger status = new AtomicInteger(200);

  @AfterEach
  void stop() throws Exception {
    for (AutoCloseable one : opened.reversed()) {
      one.close();
    }
  }

  @Test
  void postsModelMeshsJsonWithTheAlias() throws Exception {
    PayloadLog log = log(uri(server(0), ""));
    assertTrue(log.samples("any"));
    offer(log, "m", "stable", "hello");
    await(() -> counters(log).sent() == 1);
    String body = bodies.getFirst();
    for (String part :
        List.of(
            "\"modelid\":\"m\"",
            "\"vModelId\":\"stable\"",
            "\"id\":\"id\"",
            "\"kind\":\"request\"",
            "\"data\":\"" + Base64.getEncoder().encodeToString("hello".getBytes(UTF_8)) + "\"")) {
      assertTrue(body.contains(part), part + " is not in " + body);
    }
    assertEquals(0, log.counters().captured());
  }

  @Test
  void filtersByModelAliasAndMethod() throws Exception {
    HttpServer server = server(0);
    PayloadLog log =
        log(
            uri(server, "/a?m1"),
            uri(server, "/b?/stable#*"),
            uri(server, "/c?*#ModelInfer"),
            uri(server, "/d#" + METHOD),
            uri(server, "/e#Other"));
    offer(log, "m1", "", "x");
    offer(log, "m2", "stable", "x");
    await(() -> log.observed().values().stream().mapToLong(PayloadCounters::sent).sum() == 6);
    assertEquals(
        List.of(1L, 1L, 2L, 2L, 0L),
        log.observed().values().stream().map(PayloadCounters::captured).toList());
  }

  @Test
  void ofOtherMethodsOnlyObserversThatWantThemGetTheMessage() throws Exception {
    PayloadLog log = logBesides("logger://#Other", "logger://#ModelInfer");
    assertTrue(log.captures("pkg.Service/Other", "m", ""));
    assertTrue(log.samples("pkg.Service/Other", "id"));
    assertFalse(log.captures("pkg.Service/Third", "m", ""));
    assertFalse(log.samples("pkg.Service/Third", "id"));
    offer(log, "pkg.Service/Other");
    log.lost(Kind.REQUEST, "id", "m", "", "pkg.Service/Other", DropReason.TOO_LARGE);
    assertEquals(
        List.of(2L, 0L), log.observed().values().stream().map(PayloadCounters::captured).toList());
    assertEquals(1, counters(log).dropped(DropReason.TOO_LARGE));
    assertEquals(0, log.counters().captured());
    offer(log, METHOD);
    log.lost(Kind.REQUEST, "id", "m", "", METHOD, DropReason.TOO_LARGE);
    assertEquals(2, log.counters().captured());
    assertEquals(1, log.counters().dropped(DropReason.TOO_LARGE));
  }

  @Test
  void metricsDoNotShowCredentials() {
    PayloadLog log = log("http://me:secret@127.0.0.1:1/path");
    assertEquals(List.of("0 http://127.0.0.1:1"), List.copyOf(log.observed().keySet()));
  }

  @Test
  void ofModelsThatNobodyWantsNothingIsTaken() throws Exception {
    PayloadLog log = log("logger://?m#*");
    assertTrue(log.captures(METHOD, "m", ""));
    assertTrue(log.captures(METHOD, "m-v1", "m"));
    assertFalse(log.captures(METHOD, "other", "alias"));
    assertFalse(log.samples(METHOD, "other", "alias", "id"));
    Loan unwanted = new Loan("x");
    lend(log, "other", unwanted);
    assertEquals(List.of("dropped"), unwanted.fate);
    Loan wanted = new Loan("x");
    lend(log, "m", wanted);
    assertEquals(List.of("taken"), wanted.fate);
    await(() -> counters(log).sent() == 1);
  }

  @Test
  void whatCannotBeUnpackedIsCountedByObserversAndLog() throws Exception {
    PayloadLog log = logBesides("logger://", "logger://?other");
    lend(log, "m", new Loan(null));
    assertEquals(1, counters(log).dropped(DropReason.UNREADABLE));
    assertEquals(0, healthyOf(log).captured());
    assertEquals(1, log.counters().captured());
    assertEquals(1, log.counters().dropped(DropReason.UNREADABLE));
  }

  /** A message lent to the log; null when it cannot be unpacked. */
  private static final class Loan implements PayloadLog.Lent {
    private final @Nullable String text;
    final List<String> fate = new CopyOnWriteArrayList<>();

    Loan(@Nullable String text) {
      this.text = text;
    }

    @Override
    public int size() {
      return 1;
    }

    @Override
    public long heldBytes() {
      return 1;
    }

    @Override
    public byte @Nullable [] take() {
      fate.add("taken");
      return text == null ? null : text.getBytes(UTF_8);
    }

    @Override
    public void drop() {
      fate.add("dropped");
    }
  }

  private static void lend(PayloadLog log, String model, Loan loan) {
    var unused =
        log.offer(Kind.REQUEST, "id", model, "", METHOD, 0, PayloadEvent.PROTOBUF, loan, Map.of());
  }

  /** Observers beside a log that takes everything. */
  private PayloadLog logBesides(String... observers) {
    PayloadLogConfig d = PayloadLogConfig.defaults();
    PayloadLog log =
        PayloadLog.start(
            new PayloadLogConfig(
                true,
                "unused:1",
                d.topic(),
                1.0,
                0,
                d.queueBytes(),
                d.maxPayloadBytes(),
                "urn:test",
                "",
                d.lingerMs(),
                d.deliveryTimeoutMs(),
                d.closeTimeoutMs()),
            new Taker(),
            PayloadProcessors.start(ProcessorsConfig.of(List.of(observers)), null));
    opened.add(log);
    return log;
  }

  /** A broker that takes everything. */
  private static final class Taker implements PayloadSink {
    @Override
    public void send(PayloadEvent event, Outcome outcome) {
      outcome.accept(true);
    }

    @Override
    public void close(long timeoutMs) {}
  }

  private static void offer(PayloadLog log, String method) {
    log.offer(
        Kind.REQUEST,
        "id",
        "m",
        "",
        method,
        0,
        "application/x-protobuf",
        ByteString.copyFromUtf8("x"),
        Map.of());
  }

  @Test
  void aServerThatHangsHoldsItsBytesAndNothingElse() throws Exception {
    HttpServer healthy = server(0);
    try (ServerSocket hanging = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
      PayloadLog log =
          log(
              new ProcessorsConfig(
                  List.of("http://127.0.0.1:" + hanging.getLocalPort() + "/", uri(healthy, "/")),
                  2,
                  64 << 10,
                  8 << 10,
                  500,
                  600_000,
                  10));
      String kib = "x".repeat(1024);
      for (int i = 0; i < 500; i++) {
        long sent = i;
        offer(log, "m", "", kib);
        await(() -> healthyOf(log).sent() > sent);
      }
      PayloadCounters dead = log.observed().values().iterator().next();
      assertTrue(dead.queuedBytes() <= 64 << 10, dead.toString());
      assertEquals(500 - (64 << 10) / (1024 + 512), dead.dropped(DropReason.QUEUE_FULL));
      assertEquals(0, healthyOf(log).droppedTotal());
      long startNs = System.nanoTime();
      log.close();
      assertTrue(System.nanoTime() - startNs < TimeUnit.SECONDS.toNanos(30));
      PayloadCounters end = log.observed().values().iterator().next();
      assertEquals(end.captured(), end.sent() + end.droppedTotal());
    }
  }

  @Test
  void aServerThatRefusesFailsAndComesBackLosesOnlyWhatWasTried() throws Exception {
    HttpServer first = server(0);
    int port = first.getAddress().getPort();
    first.stop(0);
    PayloadLog log = log("http://127.0.0.1:" + port + "/");
    offer(log, "m", "", "refused");
    await(() -> counters(log).dropped(DropReason.SINK) == 1);
    status.set(500);
    server(port);
    offer(log, "m", "", "failed");
    await(() -> counters(log).dropped(DropReason.SINK) == 2);
    status.set(200);
    offer(log, "m", "", "taken");
    await(() -> counters(log).sent() == 1);
    assertEquals(2, counters(log).droppedTotal());
  }

  @Test
  void anAnswerWhoseBodyNeverEndsIsGivenUp() throws Exception {
    try (ServerSocket server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress())) {
      Thread.ofVirtual()
          .start(
              () -> {
                try {
                  Socket socket = server.accept();
                  opened.add(socket);
                  socket
                      .getOutputStream()
                      .write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx".getBytes(UTF_8));
                } catch (IOException e) {
                  // The test is over.
                }
              });
      PayloadLog log =
          log(
              new ProcessorsConfig(
                  List.of("http://127.0.0.1:" + server.getLocalPort() + "/"),
                  1,
                  64 << 10,
                  8 << 10,
                  500,
                  300,
                  10));
      offer(log, "m", "", "x");
      await(() -> counters(log).dropped(DropReason.SINK) == 1);
    }
  }

  @Test
  void dropsWhatIsTooLargeAndWhatComesAfterTheClose() throws Exception {
    PayloadLog log = log(uri(server(0), "/"));
    offer(log, "m", "", "x".repeat((4 << 20) + 1));
    assertEquals(1, counters(log).dropped(DropReason.TOO_LARGE));
    log.close();
    offer(log, "m", "", "x");
    assertEquals(1, counters(log).dropped(DropReason.SHUTDOWN));
  }

  @Test
  void loggerTakesWhatItsFilterLetsThrough() throws Exception {
    PayloadLog log = log("logger://", "logger:///*?m#*", "logger://?other");
    offer(log, "m", "v", "x");
    await(() -> log.observed().values().stream().mapToLong(PayloadCounters::sent).sum() == 2);
  }

  @Test
  void refusesOtherSchemesByName() {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class, () -> ProcessorsConfig.of(List.of("ftp://host/")));
    assertTrue(String.valueOf(e.getMessage()).contains("'ftp://host/'"));
    assertThrows(IllegalArgumentException.class, () -> ProcessorsConfig.of(List.of("http:///x")));
    assertFalse(PayloadLog.disabled().samples("id"));
  }

  // ---- pieces ----

  private HttpServer server(int port) throws IOException {
    HttpServer server =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 50);
    var threads = Executors.newVirtualThreadPerTaskExecutor();
    server.setExecutor(threads);
    server.createContext(
        "/",
        exchange -> {
          bodies.add(new String(exchange.getRequestBody().readAllBytes(), UTF_8));
          exchange.sendResponseHeaders(status.get(), -1);
          exchange.close();
        });
    server.start();
    opened.add(
        () -> {
          server.stop(0);
          threads.shutdownNow();
        });
    return server;
  }

  private static String uri(HttpServer server, String tail) {
    return "http://127.0.0.1:" + server.getAddress().getPort() + tail;
  }

  private PayloadLog log(String... uris) {
    ProcessorsConfig d = ProcessorsConfig.defaults();
    return log(
        new ProcessorsConfig(
            List.of(uris), 2, d.queueBytes(), d.maxPayloadBytes(), 5_000, 30_000, 10));
  }

  private PayloadLog log(ProcessorsConfig config) {
    PayloadLog log = PayloadLog.disabled(PayloadProcessors.start(config, null));
    opened.add(log);
    return log;
  }

  private static void offer(PayloadLog log, String model, String alias, String value) {
    log.offer(
        Kind.REQUEST,
        "id",
        model,
        alias,
        0,
        "application/x-protobuf",
        ByteString.copyFromUtf8(value),
        Map.of());
  }

  private static PayloadCounters counters(PayloadLog log) {
    return log.observed().values().iterator().next();
  }

  private static PayloadCounters healthyOf(PayloadLog log) {
    return List.copyOf(log.observed().values()).getLast();
  }

  private static void await(BooleanSupplier condition) {
    long deadlineNs = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!condition.getAsBoolean()) {
      assertTrue(System.nanoTime() - deadlineNs < 0, "did not happen within 60 s");
      LockSupport.parkNanos(1_000_000);
    }
  }
}
