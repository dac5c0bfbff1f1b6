package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.Unpooled;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import orlop.api.PayloadEvent;
import orlop.payload.DropReason;
import orlop.payload.PayloadLog;

/**
 * The payloads of one call that the runtime beside the pod answers, kept as they pass and offered
 * to the payload log at the end. A second message in one direction makes the call a stream, of
 * which nothing is kept: streams may last for ever. Small parts are copied, since a reference would
 * keep a whole receive buffer; of larger ones references are kept, which the log's own thread
 * copies. Bytes count against the pod's until the offer. Owned by the call's event loop.
 */
final class Capture {
  private static final int COPY_UP_TO_BYTES = 8 << 10;

  /** What references to parts of receive buffers may keep from being used again. */
  private static final int PINNED_BYTES = 64 << 10;

  private static final int MAX_PARTS = 256;

  /** Where a V2 request has its own id. */
  private static final int[] V2_ID = {3};

  private final Dispatcher pod;
  private final Op op;
  private final Named named;
  private final RequestHeaders headers;
  private final Half request = new Half();
  private final Half response = new Half();
  private @Nullable CharSequence answerEncoding;
  private boolean stream;

  private Capture(Dispatcher pod, Op op, Named named, RequestHeaders headers) {
    this.pod = pod;
    this.op = op;
    this.named = named;
    this.headers = headers;
  }

  /** Null when nobody wants the payloads of that call. */
  static @Nullable Capture of(Dispatcher pod, Op op, Named named, RequestHeaders headers) {
    return op != Op.STREAM && pod.payloads.captures(op, named)
        ? new Capture(pod, op, named, headers)
        : null;
  }

  /** A part of the request as the caller sent it; stays the caller's. */
  void request(ByteBuf part) {
    request.keep(part);
  }

  /**
   * The answer begins.
   *
   * @param encoding how its message is compressed, if it is
   */
  void answers(@Nullable CharSequence encoding) {
    answerEncoding = encoding;
  }

  /** A part of the answer as the caller gets it; stays the caller's. */
  void response(ByteBuf part) {
    response.keep(part);
  }

  /** The call has ended, after it was run. */
  void ended(Status status) {
    String v2Id = op == Op.INFER ? request.v2Id() : "";
    String id = pod.payloads.correlationId(v2Id, headers);
    if (!stream && pod.payloads.samples(op, id, named)) {
      request.offer(PayloadEvent.Kind.REQUEST, id, headers.get(Wire.ENCODING));
      if (status.isOk()) {
        response.offer(PayloadEvent.Kind.RESPONSE, id, answerEncoding);
      } else {
        pod.payloads.failure(op, id, named, status, headers);
      }
    }
    drop();
  }

  /** Lets go of what was kept. Idempotent. */
  void drop() {
    request.drop();
    response.drop();
  }

  /** One of the two messages, with its gRPC prefix. */
  private final class Half {
    private final MessageMeter meter = new MessageMeter(Integer.MAX_VALUE);
    private List<ByteBuf> parts = new ArrayList<>(1);
    private int bytes;
    private @Nullable DropReason lost;

    void keep(ByteBuf part) {
      int more = part.readableBytes();
      if (stream || more == 0) {
        return;
      }
      var unused = meter.read(part);
      if (meter.messages() > 1) {
        stream = true;
        Capture.this.drop();
        return;
      }
      if (lost != null) {
        return;
      }
      if (parts.size() == MAX_PARTS
          || bytes + (long) more > pod.payloads.maxPayloadBytes() + (long) Wire.PREFIX_BYTES) {
        drop();
        lost = DropReason.TOO_LARGE;
        return;
      }
      bytes += more;
      parts.add(
          more <= COPY_UP_TO_BYTES
              ? Unpooled.wrappedBuffer(ByteBufUtil.getBytes(part))
              : part.retainedDuplicate());
      if (!pod.hold(more)) {
        drop();
        lost = DropReason.QUEUE_FULL;
      }
    }

    /** From the part that serializers write it in, the first one; empty when it is not there. */
    String v2Id() {
      ByteBuf first = parts.isEmpty() ? Unpooled.EMPTY_BUFFER : parts.getFirst();
      int start = first.readerIndex();
      int here = first.readableBytes() - Wire.PREFIX_BYTES;
      if (here <= 0 || first.getByte(start) != 0) {
        return "";
      }
      NamePeek id = new NamePeek(V2_ID);
      try {
        var unused = id.look(first.slice(start + Wire.PREFIX_BYTES, here), first.getInt(start + 1));
        return id.name();
      } catch (InvalidProtocolBufferException e) {
        return "";
      }
    }

    void offer(PayloadEvent.Kind kind, String id, @Nullable CharSequence encoding) {
      DropReason reason = lost;
      if (reason != null) {
        pod.payloads.lost(kind, op, id, named, reason);
        return;
      }
      Message message = new Message(parts, encoding, pod.payloads.maxPayloadBytes());
      parts = new ArrayList<>(0);
      // From here on it counts against the log's own bytes.
      pod.release(bytes);
      bytes = 0;
      boolean now = message.size() <= COPY_UP_TO_BYTES && !message.compressed();
      pod.payloads.lend(kind, op, id, named, now ? new Copy(message.take()) : message, headers);
    }

    void drop() {
      parts.forEach(ByteBuf::release);
      parts = new ArrayList<>(0);
      pod.release(bytes);
      bytes = 0;
    }
  }

  /** A message that was small enough to be copied at once; null when there was none. */
  private static final class Copy implements PayloadLog.Lent {
    private final byte @Nullable [] bytes;

    Copy(byte @Nullable [] bytes) {
      this.bytes = bytes;
    }

    @Override
    public int size() {
      return bytes == null ? 0 : bytes.length;
    }

    @Override
    public long heldBytes() {
      return size();
    }

    @Override
    public byte @Nullable [] take() {
      return bytes;
    }

    @Override
    public void drop() {}
  }

  /** One gRPC message in parts, from its prefix on. Whoever takes or drops it owns it. */
  private static final class Message implements PayloadLog.Lent {
    private final List<ByteBuf> parts;
    private final @Nullable CharSequence encoding;
    private final int maxBytes;
    private final int size;

    Message(List<ByteBuf> parts, @Nullable CharSequence encoding, int maxBytes) {
      this.parts = parts;
      this.encoding = encoding;
      this.maxBytes = maxBytes;
      int framedBytes = 0;
      for (ByteBuf part : parts) {
        framedBytes += part.readableBytes();
      }
      this.size = Math.max(0, framedBytes - Wire.PREFIX_BYTES);
    }

    boolean compressed() {
      return !parts.isEmpty() && parts.getFirst().getByte(parts.getFirst().readerIndex()) != 0;
    }

    @Override
    public int size() {
      return size;
    }

    @Override
    public long heldBytes() {
      return PINNED_BYTES + (long) size;
    }

    @Override
    public byte @Nullable [] take() {
      ByteBuf all = Unpooled.wrappedBuffer(MAX_PARTS, parts.toArray(ByteBuf[]::new));
      try {
        if (all.readableBytes() < Wire.PREFIX_BYTES
            || all.getInt(all.readerIndex() + 1) != all.readableBytes() - Wire.PREFIX_BYTES) {
          return null;
        }
        boolean compressed = all.readByte() != 0;
        ByteBuf message = all.skipBytes(Wire.PREFIX_BYTES - 1);
        return compressed ? inflated(message) : ByteBufUtil.getBytes(message);
      } catch (Compression.Unreadable e) {
        return null;
      } finally {
        all.release();
      }
    }

    private byte[] inflated(ByteBuf message) throws Compression.Unreadable {
      ByteBuf plain =
          Compression.inflated(message, encoding == null ? "identity" : encoding, maxBytes, null);
      try {
        return ByteBufUtil.getBytes(plain);
      } finally {
        plain.release();
      }
    }

    @Override
    public void drop() {
      parts.forEach(ByteBuf::release);
    }
  }
}
