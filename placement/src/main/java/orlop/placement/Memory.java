package orlop.placement;

/**
 * An amount of the two kinds of memory that a model occupies, in bytes. A pod without an
 * accelerator has {@code vramBytes} 0.
 */
public record Memory(long ramBytes, long vramBytes) {
  public static final Memory NONE = new Memory(0, 0);

  public Memory {
    if (ramBytes < 0 || vramBytes < 0) {
      throw new IllegalArgumentException(
          "memory must not be negative: ram " + ramBytes + " vram " + vramBytes);
    }
  }

  public static Memory ram(long bytes) {
    return new Memory(bytes, 0);
  }

  /** The sum; what no long can count is {@link Long#MAX_VALUE}. */
  public Memory plus(Memory other) {
    return new Memory(sum(ramBytes, other.ramBytes), sum(vramBytes, other.vramBytes));
  }

  private static long sum(long a, long b) {
    return a > Long.MAX_VALUE - b ? Long.MAX_VALUE : a + b;
  }

  /** The larger of each part. */
  Memory max(Memory other) {
    return new Memory(Math.max(ramBytes, other.ramBytes), Math.max(vramBytes, other.vramBytes));
  }

  /** The difference, each part at least 0. */
  public Memory minus(Memory other) {
    return new Memory(
        Math.max(0, ramBytes - other.ramBytes), Math.max(0, vramBytes - other.vramBytes));
  }

  /** So much of it. */
  Memory percent(int percent) {
    return new Memory((long) (ramBytes / 100.0 * percent), (long) (vramBytes / 100.0 * percent));
  }

  /** Whether both parts are at most those of {@code room}. */
  public boolean fitsIn(Memory room) {
    return ramBytes <= room.ramBytes && vramBytes <= room.vramBytes;
  }
}
