package orlop.pod;

import io.grpc.Status;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.netty.buffer.Unpooled;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The bytes of one request on their way through: those that wait for a place to go to, and copies
 * by reference of those that may have to be sent again. Owned by the call's event loop.
 *
 * <p>What lies here counts against the pod's bytes. As long as the whole message is not asked for,
 * its sender gets no credit for what waits, so that it stops after one stream window.
 */
final class Request {
  /** Of a call that should carry a message. */
  static final Status EMPTY =
      Status.INVALID_ARGUMENT.withDescription("the call carries no request message");

  /** The most of one request that is kept to be sent again. */
  static final int MAX_REPLAY_BYTES = 1 << 20;

  private static final int MAX_REPLAY_PARTS = 64;

  private final Dispatcher pod;
  private final ByteBufAllocator alloc;
  private @Nullable ByteBuf held;
  private int uncredited;
  private long counted;
  private boolean ended;

  /** Null once the request cannot be sent again. */
  private @Nullable List<ByteBuf> replay = new ArrayList<>(1);

  private int replayBytes;

  Request(Dispatcher pod, ByteBufAllocator alloc) {
    this.pod = pod;
    this.alloc = alloc;
  }

  /** Whether the caller has sent everything. */
  boolean ended() {
    return ended;
  }

  void end() {
    ended = true;
  }

  /** What waits, from its first byte; null when nothing does. */
  @Nullable ByteBuf held() {
    return held;
  }

  /**
   * Keeps a part, which this takes over.
   *
   * @param bytes that the sender gets credit for
   * @return false when the pod's bytes are used up; the part is kept all the same
   */
  boolean hold(ByteBuf data, int bytes) {
    uncredited += bytes;
    counted += bytes;
    ByteBuf all = held;
    if (all == null) {
      held = data;
    } else {
      if (all.refCnt() > 1 || all.isReadOnly() || all.writableBytes() < data.readableBytes()) {
        int size = all.readableBytes() + data.readableBytes();
        ByteBuf grown = alloc.directBuffer(room(all, size));
        grown.writeBytes(all, all.readerIndex(), all.readableBytes());
        all.release();
        all = grown;
        held = all;
      }
      all.writeBytes(data);
      data.release();
    }
    return pod.hold(bytes);
  }

  /**
   * For a message that begins so: twice what has come, but no more than it says that it takes. What
   * is behind it, of a stream, has room for twice as much again.
   */
  static int room(ByteBuf begun, int size) {
    long twice = Math.max(512, Math.min(2L * size, Integer.MAX_VALUE));
    if (begun.readableBytes() < Wire.PREFIX_BYTES) {
      return (int) twice;
    }
    long whole = Wire.PREFIX_BYTES + begun.getUnsignedInt(begun.readerIndex() + 1);
    return (int) (size > whole ? twice : Math.min(whole, twice));
  }

  /**
   * The one message of a request that is all there, decompressed, which then counts against the
   * pod's bytes by itself. To be released.
   *
   * @param encoding how it is compressed, if it is
   */
  ByteBuf message(@Nullable CharSequence encoding) throws Compression.Unreadable {
    ByteBuf all = held;
    if (all == null || all.readableBytes() < Wire.PREFIX_BYTES) {
      throw new Compression.Unreadable(EMPTY);
    }
    int start = all.readerIndex();
    ByteBuf message = all.slice(start + Wire.PREFIX_BYTES, all.readableBytes() - Wire.PREFIX_BYTES);
    return all.getByte(start) == 0
        ? message.retain()
        : Compression.inflated(
            message, encoding == null ? "identity" : encoding, pod.config.maxMessageBytes(), pod);
  }

  /** For a wait: lets go of the large block that a few bytes were received in. */
  void settle() {
    ByteBuf all = held;
    if (all != null && all.readableBytes() < 4_096) {
      ByteBuf small = alloc.directBuffer(Math.max(1, all.readableBytes()));
      small.writeBytes(all, all.readerIndex(), all.readableBytes());
      all.release();
      held = small;
    }
  }

  /** Bytes that the sender is to be credited now, because what waits is needed whole. */
  int takeCredit() {
    int bytes = uncredited;
    uncredited = 0;
    return bytes;
  }

  /**
   * What waits is on its way, as {@code part}, which may differ from it.
   *
   * @return the credit that goes with it
   */
  int sent(ByteBuf part) {
    held = null;
    pod.release(counted);
    counted = 0;
    remember(part);
    return takeCredit();
  }

  /** Remembers a part that is about to be sent, without taking it over. */
  void remember(ByteBuf data) {
    List<ByteBuf> parts = replay;
    if (parts == null) {
      return;
    }
    int bytes = data.readableBytes();
    if (replayBytes + bytes > MAX_REPLAY_BYTES || parts.size() == MAX_REPLAY_PARTS) {
      forget();
      return;
    }
    replayBytes += bytes;
    parts.add(data.retainedDuplicate());
    if (!pod.hold(bytes)) {
      forget();
    }
  }

  /**
   * Makes what was sent wait again.
   *
   * @return false when it was not kept
   */
  boolean restore() {
    List<ByteBuf> parts = replay;
    if (parts == null) {
      return false;
    }
    if (!parts.isEmpty()) {
      held =
          parts.size() == 1
              ? parts.getFirst()
              : Unpooled.wrappedBuffer(parts.toArray(ByteBuf[]::new));
      counted = replayBytes;
      replayBytes = 0;
      replay = new ArrayList<>(1);
    }
    return true;
  }

  /** The request will not be sent again. */
  void forget() {
    List<ByteBuf> parts = replay;
    if (parts != null) {
      replay = null;
      for (int i = 0; i < parts.size(); i++) {
        parts.get(i).release();
      }
      pod.release(replayBytes);
    }
  }

  /** Lets everything go. Idempotent. */
  void close() {
    ByteBuf all = held;
    if (all != null) {
      held = null;
      all.release();
      pod.release(counted);
      counted = 0;
    }
    forget();
  }
}
