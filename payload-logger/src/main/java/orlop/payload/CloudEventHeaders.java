package orlop.payload;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import orlop.api.PayloadEvent;

/**
 * The headers of one payload event: CloudEvents 1.0 in Kafka's binary content mode, with KServe's
 * extension names. An attribute without a value is left out, as CloudEvents demands.
 */
final class CloudEventHeaders {
  private static final JsonFactory JSON = new JsonFactory();
  private static final byte[] SPECVERSION = "1.0".getBytes(UTF_8);
  private static final byte[] COMPONENT = "predictor".getBytes(UTF_8);

  private CloudEventHeaders() {}

  static List<Header> of(PayloadEvent event) {
    List<Header> headers = new ArrayList<>(14);
    headers.add(new RecordHeader(PayloadEvent.SPECVERSION, SPECVERSION));
    add(headers, PayloadEvent.ID, event.id());
    add(headers, PayloadEvent.TYPE, event.kind().type);
    add(headers, PayloadEvent.SOURCE, event.source());
    String time = Instant.ofEpochMilli(event.timeMs()).toString();
    add(headers, PayloadEvent.TIME, time);
    add(headers, PayloadEvent.RECORDED_TIME, time);
    add(
        headers,
        PayloadEvent.INFERENCE_SERVICE,
        event.alias().isEmpty() ? event.modelId() : event.alias());
    add(headers, PayloadEvent.NAMESPACE, event.namespace());
    headers.add(new RecordHeader(PayloadEvent.COMPONENT, COMPONENT));
    add(headers, PayloadEvent.MODEL_ID, event.modelId());
    add(headers, PayloadEvent.SEQUENCE, Long.toString(event.sequence()));
    if (event.kind() == PayloadEvent.Kind.RESPONSE) {
      add(headers, PayloadEvent.STATUS_CODE, Integer.toString(event.statusCode()));
    }
    if (!event.metadata().isEmpty()) {
      headers.add(new RecordHeader(PayloadEvent.METADATA, json(event.metadata())));
    }
    add(headers, PayloadEvent.CONTENT_TYPE, event.contentType());
    return headers;
  }

  private static void add(List<Header> headers, String name, String value) {
    if (!value.isEmpty()) {
      headers.add(new RecordHeader(name, value.getBytes(UTF_8)));
    }
  }

  private static byte[] json(Map<String, String> metadata) {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (JsonGenerator out = JSON.createGenerator(bytes)) {
      out.writeStartObject();
      for (Map.Entry<String, String> entry : metadata.entrySet()) {
        out.writeStringField(entry.getKey(), entry.getValue());
      }
      out.writeEndObject();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return bytes.toByteArray();
  }
}
