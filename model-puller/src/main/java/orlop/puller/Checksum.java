package orlop.puller;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.zip.CRC32;
import java.util.zip.CRC32C;

/**
 * What the bytes of one file must hash to.
 *
 * @param algorithm how
 * @param expected big-endian
 */
record Checksum(Algorithm algorithm, byte[] expected) {

  /** The algorithms that S3 stores checksums of, and the MD5 of its simple ETags. */
  enum Algorithm {
    CRC32C,
    CRC32,
    CRC64NVME,
    SHA256,
    SHA1,
    MD5
  }

  /** Reads the whole file on the calling thread. Ends early when that thread is interrupted. */
  boolean matches(Path file) throws IOException {
    return Arrays.equals(expected, of(algorithm, file));
  }

  String hex() {
    return HexFormat.of().formatHex(expected);
  }

  static String crc32c(Path file) throws IOException {
    return new Checksum(Algorithm.CRC32C, of(Algorithm.CRC32C, file)).hex();
  }

  static byte[] of(Algorithm algorithm, Path file) throws IOException {
    return switch (algorithm) {
      case CRC32C -> crc(new CRC32C(), 4, file);
      case CRC32 -> crc(new CRC32(), 4, file);
      case CRC64NVME -> crc(new Crc64Nvme(), 8, file);
      case SHA256 -> digest("SHA-256", file);
      case SHA1 -> digest("SHA-1", file);
      case MD5 -> digest("MD5", file);
    };
  }

  private interface Consumer {
    void take(ByteBuffer bytes);
  }

  private static byte[] crc(java.util.zip.Checksum crc, int width, Path file) throws IOException {
    read(file, crc::update);
    byte[] value = ByteBuffer.allocate(8).putLong(crc.getValue()).array();
    return Arrays.copyOfRange(value, 8 - width, 8);
  }

  private static byte[] digest(String name, Path file) throws IOException {
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance(name);
    } catch (NoSuchAlgorithmException e) {
      throw new IOException("this Java platform lacks " + name, e);
    }
    read(file, digest::update);
    return digest.digest();
  }

  private static void read(Path file, Consumer consumer) throws IOException {
    try (FileChannel channel = FileChannel.open(file)) {
      ByteBuffer buffer = ByteBuffer.allocate((int) Math.clamp(channel.size(), 1, 256 << 10));
      while (channel.read(buffer) >= 0) {
        consumer.take(buffer.flip());
        buffer.clear();
      }
    }
  }
}
