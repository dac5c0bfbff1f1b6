package orlop.puller;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * An S3 server that misbehaves on demand: as much of the protocol as a pull needs (list, head,
 * ranged and conditional get), counters, and a fault that may answer in its place. One bucket, "b".
 */
final class FakeS3 implements AutoCloseable {

  /** Answers an exchange itself and returns true, or leaves it to the server. */
  interface Fault {
    boolean answers(HttpExchange exchange, String key) throws IOException;
  }

  final Map<String, byte[]> objects = new ConcurrentHashMap<>();

  /** ETags that are not the MD5 of their object. */
  final Map<String, String> etags = new ConcurrentHashMap<>();

  /** Further headers of the answers about an object. */
  final Map<String, Map<String, String>> headers = new ConcurrentHashMap<>();

  final AtomicInteger lists = new AtomicInteger();
  final AtomicInteger heads = new AtomicInteger();
  final AtomicInteger gets = new AtomicInteger();
  volatile Fault fault = (exchange, key) -> false;

  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
  private HttpServer server;

  FakeS3() throws IOException {
    server = start(0);
  }

  private HttpServer start(int port) throws IOException {
    HttpServer started =
        HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 1000);
    started.setExecutor(threads);
    started.createContext("/", this::serve);
    started.start();
    return started;
  }

  String endpoint() {
    return "http://127.0.0.1:" + server.getAddress().getPort();
  }

  StorageConfig storage() {
    return new StorageConfig(
        "s3",
        Map.of(
            "endpoint_url", endpoint(), "access_key_id", "id", "secret_access_key", "secret-text"));
  }

  /** Goes away: connections are refused. */
  void stop() {
    server.stop(0);
  }

  /** Comes back on the same port. */
  void restart() throws IOException {
    server = start(server.getAddress().getPort());
  }

  private void serve(HttpExchange exchange) throws IOException {
    try (exchange) {
      String path = exchange.getRequestURI().getPath();
      int slash = path.indexOf('/', 1);
      String key = slash < 0 ? "" : path.substring(slash + 1);
      if (fault.answers(exchange, key)) {
        return;
      }
      if (!path.equals("/b") && !path.startsWith("/b/")) {
        error(exchange, 404, "NoSuchBucket");
      } else if (key.isEmpty()) {
        list(exchange);
      } else {
        object(exchange, key);
      }
    }
  }

  private void list(HttpExchange exchange) throws IOException {
    lists.incrementAndGet();
    Map<String, String> query = new HashMap<>();
    for (String pair : exchange.getRequestURI().getRawQuery().split("&")) {
      int equals = pair.indexOf('=');
      query.put(
          equals < 0 ? pair : pair.substring(0, equals),
          equals < 0 ? "" : URLDecoder.decode(pair.substring(equals + 1), StandardCharsets.UTF_8));
    }
    StringBuilder xml = new StringBuilder("<ListBucketResult>");
    int count = 0;
    for (Map.Entry<String, byte[]> object : new TreeMap<>(objects).entrySet()) {
      if (object.getKey().startsWith(query.getOrDefault("prefix", ""))) {
        count++;
        xml.append(
            "<Contents><Key>%s</Key><Size>%d</Size><ETag>%s</ETag></Contents>"
                .formatted(object.getKey(), object.getValue().length, etag(object.getKey())));
      }
    }
    xml.append("<KeyCount>" + count + "</KeyCount><IsTruncated>false</IsTruncated>");
    send(exchange, 200, xml.append("</ListBucketResult>").toString());
  }

  private void object(HttpExchange exchange, String key) throws IOException {
    boolean head = exchange.getRequestMethod().equals("HEAD");
    (head ? heads : gets).incrementAndGet();
    byte[] bytes = objects.get(key);
    if (bytes == null) {
      error(exchange, 404, "NoSuchKey");
      return;
    }
    String ifMatch = exchange.getRequestHeaders().getFirst("If-Match");
    if (ifMatch != null && !ifMatch.equals(etag(key))) {
      error(exchange, 412, "PreconditionFailed");
      return;
    }
    headers.getOrDefault(key, Map.of()).forEach(exchange.getResponseHeaders()::set);
    exchange.getResponseHeaders().set("ETag", etag(key));
    String range = exchange.getRequestHeaders().getFirst("Range");
    int status = 200;
    byte[] body = bytes;
    if (range != null) {
      List<String> ends = List.of(range.substring("bytes=".length()).split("-"));
      int from = Integer.parseInt(ends.get(0));
      int to = Integer.parseInt(ends.get(1));
      body = Arrays.copyOfRange(bytes, from, to + 1);
      exchange
          .getResponseHeaders()
          .set("Content-Range", "bytes " + from + "-" + to + "/" + bytes.length);
      status = 206;
    }
    if (head) {
      exchange.getResponseHeaders().set("Content-Length", "" + bytes.length);
      exchange.sendResponseHeaders(status, -1);
    } else {
      send(exchange, status, body);
    }
  }

  /** The version of an object as S3 words it. */
  String etag(String key) {
    String given = etags.get(key);
    return given != null ? given : '"' + md5(objects.getOrDefault(key, new byte[0])) + '"';
  }

  static String md5(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError(e);
    }
  }

  static void error(HttpExchange exchange, int status, String code) throws IOException {
    send(exchange, status, "<Error><Code>" + code + "</Code><Message>said so</Message></Error>");
  }

  static void send(HttpExchange exchange, int status, String body) throws IOException {
    send(exchange, status, body.getBytes(StandardCharsets.UTF_8));
  }

  static void send(HttpExchange exchange, int status, byte[] body) throws IOException {
    if (exchange.getRequestMethod().equals("HEAD")) {
      exchange.sendResponseHeaders(status, -1);
      return;
    }
    exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
    try (OutputStream out = exchange.getResponseBody()) {
      out.write(body);
    }
  }

  /** Announces a whole body, sends its first bytes and hangs up. */
  static void cutAfter(HttpExchange exchange, int status, byte[] body, int sent)
      throws IOException {
    exchange.sendResponseHeaders(status, body.length);
    exchange.getResponseBody().write(body, 0, sent);
    exchange.getResponseBody().flush();
    exchange.close();
  }

  @Override
  public void close() {
    server.stop(0);
    threads.shutdownNow();
  }
}
