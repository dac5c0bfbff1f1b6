package orlop.bench;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.function.LongFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * An object store with as many models as anybody asks for: it makes each when it is read. Speaks as
 * much of S3 as a pull needs: list a folder, get an object or a range of it. Thread-safe.
 */
final class ModelShop implements AutoCloseable {
  static final String BUCKET = "models";
  private static final Pattern FOLDER = Pattern.compile("([0-9]+)/");
  private static final Pattern RANGE = Pattern.compile("bytes=([0-9]+)-([0-9]+)");
  private static final String FILE = "model.onnx";

  private record Ware(long number, byte[] model, String etag) {}

  private final LongFunction<byte[]> models;
  private final AtomicReferenceArray<@Nullable Ware> lately = new AtomicReferenceArray<>(16);
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
  private final HttpServer server;

  /**
   * Listens on a free port of the loopback interface.
   *
   * @param models the file of a number; equal numbers give equal files
   */
  ModelShop(LongFunction<byte[]> models) throws IOException {
    this.models = models;
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.setExecutor(threads);
    server.createContext("/", this::answer);
    server.start();
  }

  String endpoint() {
    return "http://127.0.0.1:" + server.getAddress().getPort();
  }

  /** Where the model of that number lies in the bucket. */
  static String path(long number) {
    return number + "/";
  }

  private void answer(HttpExchange exchange) throws IOException {
    try (exchange) {
      String query = String.valueOf(exchange.getRequestURI().getQuery());
      Matcher folder = FOLDER.matcher(query.contains("list-type=2") ? query : path(exchange));
      if (!folder.find()) {
        exchange.sendResponseHeaders(404, -1);
        return;
      }
      Ware ware = ware(Long.parseLong(folder.group(1)));
      byte[] model = ware.model;
      String etag = ware.etag;
      if (query.contains("list-type=2")) {
        send(exchange, 200, listing(folder.group(1), model.length, etag));
      } else {
        exchange.getResponseHeaders().set("ETag", etag);
        part(exchange, model);
      }
    }
  }

  /** A model is listed and read a moment later. */
  private Ware ware(long number) {
    int place = (int) (number % lately.length());
    Ware last = lately.get(place);
    if (last == null || last.number != number) {
      byte[] model = models.apply(number);
      last = new Ware(number, model, "\"" + md5(model) + "\"");
      lately.set(place, last);
    }
    return last;
  }

  private static String path(HttpExchange exchange) {
    return exchange.getRequestURI().getPath();
  }

  private static void part(HttpExchange exchange, byte[] model) throws IOException {
    String range = exchange.getRequestHeaders().getFirst("Range");
    Matcher asked = RANGE.matcher(range == null ? "" : range);
    if (!asked.matches()) {
      send(exchange, 200, model);
      return;
    }
    int from = Integer.parseInt(asked.group(1));
    int to = Integer.parseInt(asked.group(2));
    exchange
        .getResponseHeaders()
        .set("Content-Range", "bytes %d-%d/%d".formatted(from, to, model.length));
    send(exchange, 206, java.util.Arrays.copyOfRange(model, from, to + 1));
  }

  private static byte[] listing(String number, int bytes, String etag) {
    return """
    <?xml version="1.0" encoding="UTF-8"?>
    <ListBucketResult><Name>%s</Name><Prefix>%s/</Prefix><KeyCount>1</KeyCount>\
    <MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>%s/%s</Key>\
    <LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>%s</ETag><Size>%d</Size>\
    </Contents></ListBucketResult>
    """
        .formatted(BUCKET, number, number, FILE, etag, bytes)
        .getBytes(StandardCharsets.UTF_8);
  }

  private static void send(HttpExchange exchange, int status, byte[] body) throws IOException {
    if (exchange.getRequestMethod().equals("HEAD")) {
      exchange.getResponseHeaders().set("Content-Length", Integer.toString(body.length));
      exchange.sendResponseHeaders(status, -1);
      return;
    }
    exchange.sendResponseHeaders(status, body.length);
    exchange.getResponseBody().write(body);
  }

  private static String md5(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("MD5").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has MD5", e);
    }
  }

  @Override
  public void close() {
    server.stop(0);
    threads.shutdownNow();
  }
}
