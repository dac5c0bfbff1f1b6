package orlop.payload;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import javax.net.ssl.SSLContext;
import org.jspecify.annotations.Nullable;

/**
 * Posts each payload as JSON in ModelMesh's form: {@code modelid}, {@code id}, {@code kind} and
 * {@code data} in Base64, and where there are such {@code vModelId}, {@code method} and {@code
 * status}. Any answer of 2xx takes it.
 */
final class HttpDelivery implements Processor.Delivery {
  private static final JsonFactory JSON = new JsonFactory();

  private final URI target;
  private final ProcessorsConfig config;
  private final ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
  private final HttpClient client;

  /**
   * @param tls null: as the Java machine does by itself
   */
  HttpDelivery(URI uri, ProcessorsConfig config, @Nullable SSLContext tls) {
    String text = uri.toString();
    int fragment = text.indexOf('#');
    this.target = fragment < 0 ? uri : URI.create(text.substring(0, fragment));
    this.config = config;
    HttpClient.Builder builder =
        HttpClient.newBuilder()
            .executor(threads)
            .version(HttpClient.Version.HTTP_1_1)
            .connectTimeout(Duration.ofMillis(config.connectTimeoutMs()));
    this.client = (tls == null ? builder : builder.sslContext(tls)).build();
  }

  @Override
  public void deliver(Observed payload) throws IOException, InterruptedException {
    HttpRequest request =
        HttpRequest.newBuilder(target)
            .header("Content-Type", "application/json")
            .POST(HttpRequest.BodyPublishers.ofByteArray(body(payload)))
            .build();
    var answer = client.sendAsync(request, HttpResponse.BodyHandlers.discarding());
    try {
      // The client's own timeout ends with the headers; an answer may also hang behind them.
      int status = answer.get(config.requestTimeoutMs(), TimeUnit.MILLISECONDS).statusCode();
      if (status / 100 != 2) {
        throw new IOException("it answered " + status);
      }
    } catch (TimeoutException e) {
      throw new IOException("no answer within " + config.requestTimeoutMs() + " ms", e);
    } catch (ExecutionException e) {
      Throwable cause = e.getCause() == null ? e : e.getCause();
      String message = cause.getMessage();
      throw new IOException(message == null ? cause.getClass().getSimpleName() : message, cause);
    } finally {
      answer.cancel(true);
    }
  }

  private static byte[] body(Observed payload) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(payload.value().size() * 4 / 3 + 256);
    try (JsonGenerator out = JSON.createGenerator(bytes)) {
      out.writeStartObject();
      out.writeStringField("modelid", payload.modelId());
      if (!payload.alias().isEmpty()) {
        out.writeStringField("vModelId", payload.alias());
      }
      out.writeStringField("id", payload.id());
      out.writeStringField("kind", payload.kind().name().toLowerCase(Locale.ROOT));
      out.writeStringField("method", payload.method());
      if (payload.statusCode() != 0) {
        out.writeNumberField("status", payload.statusCode());
      }
      out.writeBinaryField("data", payload.value().toByteArray());
      out.writeEndObject();
    }
    return bytes.toByteArray();
  }

  @Override
  public void close() {
    client.shutdownNow();
    threads.shutdownNow();
  }
}
