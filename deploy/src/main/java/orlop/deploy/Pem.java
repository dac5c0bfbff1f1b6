package orlop.deploy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.AlgorithmParameters;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Cipher;
import javax.crypto.EncryptedPrivateKeyInfo;
import javax.crypto.SecretKey;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import org.jspecify.annotations.Nullable;

/**
 * Certificates and keys in PEM files. Errors are {@link CommandException} and name setting, file
 * and reason; what a key file holds is never part of them.
 *
 * <p>Sources: RFC 7468 (the text), RFC 5958 (PKCS #8), RFC 8017 and RFC 5915 (the older forms of
 * RSA and EC keys).
 */
final class Pem {
  private static final Pattern BLOCK =
      Pattern.compile("-----BEGIN ([A-Z0-9 ]+)-----([^-]*)-----END \\1-----");
  private static final int MAX_BYTES = 1 << 20;
  private static final List<String> ALGORITHMS = List.of("RSA", "EC", "EdDSA", "RSASSA-PSS");

  /** {@code AlgorithmIdentifier} of RSA: its object identifier, and NULL. */
  private static final byte[] RSA = HexFormat.of().parseHex("300d06092a864886f70d0101010500");

  /** The object identifier of elliptic curve keys. */
  private static final byte[] EC = HexFormat.of().parseHex("06072a8648ce3d0201");

  private record Block(String label, byte[] der) {}

  private Pem() {}

  /** All certificates of a file, in its order; at least one. */
  static List<X509Certificate> certificates(String setting, Path file) {
    List<X509Certificate> all = new ArrayList<>();
    try {
      CertificateFactory factory = CertificateFactory.getInstance("X.509");
      for (Block block : blocks(setting, file)) {
        if (block.label.equals("CERTIFICATE")) {
          all.add(
              (X509Certificate) factory.generateCertificate(new ByteArrayInputStream(block.der)));
        }
      }
    } catch (CertificateException e) {
      throw broken(setting, file, "holds a certificate that cannot be read", e);
    }
    if (all.isEmpty()) {
      throw broken(setting, file, "holds no certificate (-----BEGIN CERTIFICATE-----)", null);
    }
    return all;
  }

  /** The first private key of a file. */
  static PrivateKey key(String setting, Path file, String passphrase) {
    for (Block block : blocks(setting, file)) {
      switch (block.label) {
        case "PRIVATE KEY" -> {
          return key(setting, file, block.der);
        }
        case "RSA PRIVATE KEY" -> {
          return key(setting, file, pkcs8(RSA, block.der));
        }
        case "EC PRIVATE KEY" -> {
          return key(
              setting, file, pkcs8(tagged(0x30, EC, curve(setting, file, block)), block.der));
        }
        case "ENCRYPTED PRIVATE KEY" -> {
          return key(setting, file, decrypted(setting, file, block.der, passphrase));
        }
        default -> {}
      }
    }
    throw broken(setting, file, "holds no private key (-----BEGIN PRIVATE KEY-----)", null);
  }

  private static List<Block> blocks(String setting, Path file) {
    String text;
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw broken(setting, file, "has more than " + MAX_BYTES + " bytes", null);
      }
      text = Files.readString(file, StandardCharsets.ISO_8859_1);
    } catch (NoSuchFileException e) {
      throw broken(setting, file, "does not exist", e);
    } catch (IOException e) {
      throw broken(setting, file, "cannot be read: " + e.getMessage(), e);
    }
    if (text.contains("Proc-Type: 4,ENCRYPTED")) {
      throw broken(
          setting, file, "is encrypted in an old way; convert it by openssl pkcs8 -topk8", null);
    }
    List<Block> all = new ArrayList<>();
    Matcher found = BLOCK.matcher(text);
    while (found.find()) {
      try {
        all.add(new Block(found.group(1), Base64.getMimeDecoder().decode(found.group(2).strip())));
      } catch (IllegalArgumentException e) {
        throw broken(setting, file, "is damaged: what stands in it is not base64", null);
      }
    }
    return all;
  }

  private static byte[] decrypted(String setting, Path file, byte[] der, String passphrase) {
    if (passphrase.isEmpty()) {
      throw broken(setting, file, "is encrypted and tls.passphrase is empty", null);
    }
    PBEKeySpec secret = new PBEKeySpec(passphrase.toCharArray());
    try {
      EncryptedPrivateKeyInfo info = new EncryptedPrivateKeyInfo(der);
      AlgorithmParameters parameters = info.getAlgParameters();
      String name = info.getAlgName();
      boolean scheme = name.equals("PBES2") || name.equals("1.2.840.113549.1.5.13");
      // The parameters of PBES2 name the algorithm, which the JDK gives as their text.
      String algorithm = scheme ? parameters.toString() : name;
      SecretKey key = SecretKeyFactory.getInstance(algorithm).generateSecret(secret);
      Cipher cipher = Cipher.getInstance(algorithm);
      cipher.init(Cipher.DECRYPT_MODE, key, parameters);
      return info.getKeySpec(cipher).getEncoded();
    } catch (IOException | GeneralSecurityException | RuntimeException e) {
      // Its text may hold what was decrypted.
      throw broken(setting, file, "cannot be decrypted: tls.passphrase is not its own", null);
    } finally {
      secret.clearPassword();
    }
  }

  private static PrivateKey key(String setting, Path file, byte[] pkcs8) {
    for (String algorithm : ALGORITHMS) {
      try {
        return KeyFactory.getInstance(algorithm).generatePrivate(new PKCS8EncodedKeySpec(pkcs8));
      } catch (GeneralSecurityException e) {
        // Of another kind.
      }
    }
    throw broken(setting, file, "holds a private key that is neither RSA, EC nor EdDSA", null);
  }

  /** {@code PrivateKeyInfo}: version 0, the algorithm, and the key in its older form. */
  private static byte[] pkcs8(byte[] algorithm, byte[] key) {
    return tagged(0x30, new byte[] {2, 1, 0}, algorithm, tagged(0x04, key));
  }

  /** The curve's identifier, which stands in an EC key behind the number: {@code [0] { OID }}. */
  private static byte[] curve(String setting, Path file, Block block) {
    byte[] der = block.der;
    int at = der.length > 6 ? (der[1] & 0xff) > 0x80 ? 2 + (der[1] & 0x7f) : 2 : der.length;
    at += 3; // The version.
    at += at + 1 < der.length ? 2 + (der[at + 1] & 0xff) : 0; // The number itself.
    if (at + 3 >= der.length || (der[at] & 0xff) != 0xa0) {
      throw broken(setting, file, "holds an EC key that does not name its curve", null);
    }
    int length = Math.min(der[at + 1] & 0x7f, der.length - at - 2);
    return Arrays.copyOfRange(der, at + 2, at + 2 + length);
  }

  /** One DER value of these parts. */
  static byte[] tagged(int tag, byte[]... parts) {
    int length = 0;
    for (byte[] part : parts) {
      length += part.length;
    }
    int extra = length < 128 ? 0 : length < 256 ? 1 : length < 65_536 ? 2 : 3;
    byte[] der = new byte[2 + extra + length];
    der[0] = (byte) tag;
    der[1] = (byte) (extra == 0 ? length : 0x80 | extra);
    for (int i = 0; i < extra; i++) {
      der[2 + i] = (byte) (length >> 8 * (extra - 1 - i));
    }
    int at = 2 + extra;
    for (byte[] part : parts) {
      System.arraycopy(part, 0, der, at, part.length);
      at += part.length;
    }
    return der;
  }

  private static CommandException broken(
      String setting, Path file, String why, @Nullable Exception cause) {
    String line = "%s file %s %s".formatted(setting, file, why);
    String remedy = "check the file, or unset " + setting;
    return cause == null
        ? new CommandException(line, remedy)
        : new CommandException(line, remedy, cause);
  }
}
