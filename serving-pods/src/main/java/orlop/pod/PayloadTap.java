package orlop.pod;

import com.google.protobuf.ByteString;
import io.grpc.Status;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import orlop.api.PayloadEvent;
import orlop.payload.DropReason;
import orlop.payload.PayloadLog;

/** Offers what runs in this pod to the payload log. Thread-safe; never blocks. */
final class PayloadTap {
  private static final String REQUEST_ID = "x-request-id";

  private final PayloadLog log;
  private final Set<String> headerNames;
  private final EpochClock clock;

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

  /** Whether the payloads of any call of that method of that model are wanted. */
  boolean captures(Op op, Named named) {
    return log.captures(op.method, named.model().id(), named.alias());
  }

  /** Whether the payloads of that call are wanted. */
  boolean samples(Op op, String id, Named named) {
    return log.samples(op.method, named.model().id(), named.alias(), id);
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

  /** The response of a call that ran and failed: its status, with the text as value. */
  void failure(Op op, String id, Named named, Status status, RequestHeaders headers) {
    if (samples(op, id, named)) {
      String text = status.getDescription();
      log.offer(
          PayloadEvent.Kind.RESPONSE,
          id,
          named.model().id(),
          named.alias(),
          op.method,
          status.getCode().value(),
          "text/plain",
          ByteString.copyFromUtf8(text == null ? "" : text),
          allowed(headers));
    }
  }

  /** Offers a message that the log copies later, if at all. */
  void lend(
      PayloadEvent.Kind kind,
      Op op,
      String id,
      Named named,
      PayloadLog.Lent message,
      RequestHeaders headers) {
    log.offer(
        kind,
        id,
        named.model().id(),
        named.alias(),
        op.method,
        Status.Code.OK.value(),
        PayloadEvent.PROTOBUF,
        message,
        allowed(headers));
  }

  /** Counts a message that could not be kept until its offer. */
  void lost(PayloadEvent.Kind kind, Op op, String id, Named named, DropReason reason) {
    log.lost(kind, id, named.model().id(), named.alias(), op.method, reason);
  }

  /** The largest message that is captured. */
  int maxPayloadBytes() {
    return log.maxPayloadBytes();
  }

  private Map<String, String> allowed(RequestHeaders headers) {
    if (headerNames.isEmpty()) {
      return Map.of();
    }
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
    // An id to tell calls apart, no secret.
    ThreadLocalRandom random = ThreadLocalRandom.current();
    long high = clock.nowMs() << 16 | 0x7000 | (random.nextLong() & 0xFFF);
    long low = (random.nextLong() & 0x3FFF_FFFF_FFFF_FFFFL) | 0x8000_0000_0000_0000L;
    return new UUID(high, low);
  }
}
