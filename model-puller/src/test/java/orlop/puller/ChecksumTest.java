package orlop.puller;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.puller.Checksum.Algorithm;

/** Checksums equal the published check values for the text "123456789". */
final class ChecksumTest {
  @TempDir Path temp;

  @Test
  void agreesWithThePublishedCheckValues() throws Exception {
    Path file = Files.writeString(temp.resolve("f"), "123456789");
    assertEquals("cbf43926", hex(Algorithm.CRC32, file));
    assertEquals("e3069283", hex(Algorithm.CRC32C, file));
    assertEquals("ae8b14860a799888", hex(Algorithm.CRC64NVME, file));
    assertEquals("25f9e794323b453885f5181f1b624d0b", hex(Algorithm.MD5, file));
    assertEquals("f7c3bc1d808e04732adf679965ccc34ca7ae3441", hex(Algorithm.SHA1, file));
  }

  @Test
  void crc64IsTheSameInAnySlicing() {
    byte[] bytes = Fixtures.bytes(7, 10_007);
    Crc64Nvme whole = new Crc64Nvme();
    whole.update(bytes, 0, bytes.length);
    Crc64Nvme single = new Crc64Nvme();
    for (byte b : bytes) {
      single.update(b);
    }
    Crc64Nvme pieces = new Crc64Nvme();
    for (int at = 0; at < bytes.length; at += 13) {
      pieces.update(ByteBuffer.wrap(bytes, at, Math.min(13, bytes.length - at)));
    }
    assertEquals(single.getValue(), whole.getValue());
    assertEquals(single.getValue(), pieces.getValue());
  }

  private static String hex(Algorithm algorithm, Path file) throws Exception {
    return HexFormat.of().formatHex(Checksum.of(algorithm, file));
  }
}
