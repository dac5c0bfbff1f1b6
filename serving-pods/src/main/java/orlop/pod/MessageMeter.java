package orlop.pod;

import io.netty.buffer.ByteBuf;

/**
 * Follows the gRPC messages in a stream of bytes: how many there are, and whether one is larger
 * than allowed. O(messages), whatever their size. Not thread-safe.
 */
final class MessageMeter {
  private final int maxMessageBytes;
  private int prefixBytes;
  private long length;
  private long left;
  private int messages;

  MessageMeter(int maxMessageBytes) {
    this.maxMessageBytes = maxMessageBytes;
  }

  /**
   * Takes note of the next bytes.
   *
   * @return whether all messages so far are small enough
   */
  boolean read(ByteBuf data) {
    int at = data.readerIndex();
    int end = data.writerIndex();
    while (at < end) {
      if (left > 0) {
        int step = (int) Math.min(left, end - at);
        left -= step;
        at += step;
        continue;
      }
      if (prefixBytes == 0) {
        length = 0;
        messages++;
      } else {
        length = length << 8 | data.getByte(at) & 0xff;
      }
      at++;
      prefixBytes++;
      if (prefixBytes == Wire.PREFIX_BYTES) {
        prefixBytes = 0;
        if (length > maxMessageBytes) {
          return false;
        }
        left = length;
      }
    }
    return true;
  }

  /** Messages begun. */
  int messages() {
    return messages;
  }

  /** The length that the last message gives itself. */
  long lastLength() {
    return length;
  }

  /** Whether what was read ends where a message ends. */
  boolean complete() {
    return prefixBytes == 0 && left == 0;
  }
}
