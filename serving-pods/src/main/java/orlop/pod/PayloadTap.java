package orlop.pod;

import com.google.protobuf.ByteString;
import io.grpc.Status;
import java.security.SecureRandom;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import orlop.api.PayloadEvent;
import orlop.payload.PayloadLog;

/** Offers what runs in this pod to the payload log. Thread-safe; never blocks. */
final class PayloadTap {
  private static final String REQUEST_ID = "x-request-id";

  private final PayloadLog log;
  private final Set<String> headerNames;
  private final EpochClock clock;
  private final SecureRandom random = new SecureRandom();

  PayloadTap(PayloadLog log, Set<String> headerNames, EpochClock clock) {
    this.log = log;
    this.headerNames = headerNames;
    this.clock = clock;
  }

  /**
   * The id that ties a request to its response: the caller's V2 id, else its {@code x-request-id},
   * else a new UUID of version 7.
   */
  String correlationId(String v2Id, RequestHeaders headers) {
    if (!v2Id.isEmpty()) {
      return v2Id;
    }
    String id = headers.get(REQUEST_ID);
    return id != null && !id.isEmpty() ? id : uuid7().toString();
  }

  /** Whether the payloads of any call are wanted. */
  boolean on() {
    return log.captures();
  }

  /** Whether the payloads of that call are wanted. */
  boolean samples(String id) {
    return log.samples(id);
  }

  void request(String id, Named named, byte[] message, RequestHeaders headers) {
    if (log.samples(id)) {
      log.offer(
          PayloadEvent.Kind.REQUEST,
          id,
          named.model().id(),
          named.alias(),
          0,
          PayloadEvent.PROTOBUF,
          message,
          allowed(headers));
    }
  }

  void response(String id, Named named, byte[] message, RequestHeaders headers) {
    if (log.samples(id)) {
      log.offer(
          PayloadEvent.Kind.RESPONSE,
          id,
          named.model().id(),
          named.alias(),
          Status.Code.OK.value(),
          PayloadEvent.PROTOBUF,
          message,
          allowed(headers));
    }
  }

  /** The response of an inference that ran and failed: its status, with the text as value. */
  void failure(String id, Named named, Status status, RequestHeaders headers) {
    if (log.samples(id)) {
      String text = status.getDescription();
      log.offer(
          PayloadEvent.Kind.RESPONSE,
          id,
          named.model().id(),
          named.alias(),
          status.getCode().value(),
          "text/plain",
          ByteString.copyFromUtf8(text == null ? "" : text),
          allowed(headers));
    }
  }

  private Map<String, String> allowed(RequestHeaders headers) {
    Map<String, String> kept = new HashMap<>();
    for (String name : headerNames) {
      String value = headers.get(name);
      if (value != null) {
        kept.put(name, value);
      }
    }
    return kept;
  }

  /** Source: RFC 9562, section 5.7. */
  private UUID uuid7() {
    long high = clock.nowMs() << 16 | 0x7000 | (random.nextLong() & 0xFFF);
    long low = (random.nextLong() & 0x3FFF_FFFF_FFFF_FFFFL) | 0x8000_0000_0000_0000L;
    return new UUID(high, low);
  }
}
