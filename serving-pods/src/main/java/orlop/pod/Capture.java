package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.CompositeByteBuf;
import io.netty.buffer.Unpooled;
import org.jspecify.annotations.Nullable;

/**
 * The payloads of one inference that the runtime beside the pod runs, kept by reference as they
 * pass and offered to the payload log at the end. Owned by the call's event loop.
 */
final class Capture {
  /** Where a V2 request has its own id. */
  private static final int[] V2_ID = {3};

  private final Dispatcher pod;
  private final Named named;
  private final RequestHeaders headers;
  private final CompositeByteBuf request = Unpooled.compositeBuffer(Integer.MAX_VALUE);
  private final CompositeByteBuf response = Unpooled.compositeBuffer(Integer.MAX_VALUE);
  private int bytes;
  private boolean over;

  private Capture(Dispatcher pod, Named named, RequestHeaders headers) {
    this.pod = pod;
    this.named = named;
    this.headers = headers;
  }

  /** Null when nobody wants the payloads of that call. */
  static @Nullable Capture of(Dispatcher pod, Op op, Named named, RequestHeaders headers) {
    return op == Op.INFER && pod.payloads.on() ? new Capture(pod, named, headers) : null;
  }

  /** A part of the request as the caller sent it; stays the caller's. */
  void request(ByteBuf part) {
    keep(request, part);
  }

  /** A part of the answer as the caller gets it; stays the caller's. */
  void response(ByteBuf part) {
    keep(response, part);
  }

  /** What does not fit into the pod's bytes is not captured at all. */
  private void keep(CompositeByteBuf whole, ByteBuf part) {
    if (over) {
      return;
    }
    bytes += part.readableBytes();
    if (pod.hold(part.readableBytes())) {
      whole.addComponent(true, part.retainedDuplicate());
    } else {
      drop();
    }
  }

  /** The call has ended, after it was run. */
  void ended(Status status) {
    if (!over) {
      byte[] asked = message(request);
      byte[] answered = message(response);
      if (asked != null) {
        offer(asked, answered, status);
      }
      drop();
    }
  }

  private void offer(byte[] asked, byte @Nullable [] answered, Status status) {
    String id = pod.payloads.correlationId(v2Id(asked), headers);
    if (!pod.payloads.samples(id)) {
      return;
    }
    pod.payloads.request(id, named, asked, headers);
    if (!status.isOk()) {
      pod.payloads.failure(id, named, status, headers);
    } else if (answered != null) {
      pod.payloads.response(id, named, answered, headers);
    }
  }

  private static String v2Id(byte[] request) {
    NamePeek id = new NamePeek(V2_ID);
    try {
      var unused = id.look(Unpooled.wrappedBuffer(request), request.length);
      return id.name();
    } catch (InvalidProtocolBufferException e) {
      return "";
    }
  }

  /** The one message that was framed; null when there is none, or a compressed one. */
  private static byte @Nullable [] message(ByteBuf framed) {
    if (framed.readableBytes() < Wire.PREFIX_BYTES
        || framed.getByte(framed.readerIndex()) != 0
        || framed.getInt(framed.readerIndex() + 1) != framed.readableBytes() - Wire.PREFIX_BYTES) {
      return null;
    }
    return ByteBufUtil.getBytes(
        framed,
        framed.readerIndex() + Wire.PREFIX_BYTES,
        framed.readableBytes() - Wire.PREFIX_BYTES);
  }

  /** Lets go of what was kept. Idempotent. */
  void drop() {
    if (!over) {
      over = true;
      request.release();
      response.release();
      pod.release(bytes);
    }
  }
}
