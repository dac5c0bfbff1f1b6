package orlop.pod;

import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Puts parts together to one buffer that is flat however many they are: small ones are copied,
 * since a component of its own costs more than its bytes; large ones are taken as they are.
 */
final class Gather {
  private static final int MAX_COPIED_BYTES = 1 << 10;

  private final List<ByteBuf> parts = new ArrayList<>(4);

  /** Grows at the end of the parts; null after a large one. */
  private @Nullable ByteBuf copies;

  /** Adds a part, which this takes over. */
  void add(ByteBuf part) {
    if (part.readableBytes() > MAX_COPIED_BYTES) {
      parts.add(part);
      copies = null;
      return;
    }
    ByteBuf into = copies;
    if (into == null) {
      into = Unpooled.buffer();
      copies = into;
      parts.add(into);
    }
    into.writeBytes(part);
    part.release();
  }

  /** All of it, which is the caller's; null when nothing was added. */
  @Nullable ByteBuf all() {
    return switch (parts.size()) {
      case 0 -> null;
      case 1 -> parts.getFirst();
      // With fewer components allowed the large parts would be copied.
      default -> Unpooled.wrappedBuffer(parts.size(), parts.toArray(ByteBuf[]::new));
    };
  }

  void release() {
    parts.forEach(ByteBuf::release);
  }

  /**
   * Copies bytes to the end of a buffer, which grows by halves: in steps of a fixed size a large
   * message would be copied over and over.
   */
  static void copy(ByteBuf from, int bytes, ByteBuf to) {
    long size = (long) to.writerIndex() + bytes;
    if (size > to.capacity()) {
      to.capacity((int) Math.min(to.maxCapacity(), size + (size >> 1)));
    }
    to.writeBytes(from, bytes);
  }
}
