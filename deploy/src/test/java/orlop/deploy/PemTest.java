package orlop.deploy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import java.security.SecureRandom;
import java.security.interfaces.ECPrivateKey;
import java.security.spec.ECGenParameterSpec;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import javax.crypto.Cipher;
import javax.crypto.SecretKeyFactory;
import javax.crypto.spec.PBEKeySpec;
import javax.crypto.spec.PBEParameterSpec;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Private keys in the forms that openssl and cert-manager write. */
final class PemTest {
  private static final String SECRET = "correct horse";

  @TempDir Path dir;

  private Path file(String label, byte[] der) throws Exception {
    String text =
        "Bag Attributes\n-----BEGIN %s-----\n%s\n-----END %s-----\n"
            .formatted(
                label, Base64.getMimeEncoder(64, new byte[] {10}).encodeToString(der), label);
    return Files.writeString(dir.resolve(label.replace(' ', '-')), text);
  }

  private static PrivateKey rsa() throws Exception {
    KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
    generator.initialize(2_048);
    return generator.generateKeyPair().getPrivate();
  }

  private static PrivateKey ec(String curve) throws Exception {
    KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
    generator.initialize(new ECGenParameterSpec(curve));
    return generator.generateKeyPair().getPrivate();
  }

  private static PrivateKey read(Path file) {
    return Pem.key("tls.privateKey", file, "");
  }

  @Test
  void readsPlainKeysOfEveryKind() throws Exception {
    PrivateKey rsa = rsa();
    assertEquals(rsa, read(file("PRIVATE KEY", rsa.getEncoded())));
    PrivateKey ec = ec("secp384r1");
    assertEquals(ec, read(file("PRIVATE KEY", ec.getEncoded())));
    PrivateKey ed = KeyPairGenerator.getInstance("Ed25519").generateKeyPair().getPrivate();
    assertEquals(ed, read(file("PRIVATE KEY", ed.getEncoded())));
  }

  @Test
  void readsTheOlderFormsOfRsaAndEcKeys() throws Exception {
    PrivateKey rsa = rsa();
    byte[] pkcs8 = rsa.getEncoded();
    // What PKCS #8 puts around a key of 2,048 bits has 26 bytes.
    assertEquals(rsa, read(file("RSA PRIVATE KEY", Arrays.copyOfRange(pkcs8, 26, pkcs8.length))));
    ECPrivateKey ec = (ECPrivateKey) ec("secp256r1");
    byte[] number = new byte[32];
    byte[] all = ec.getS().toByteArray();
    int used = Math.min(32, all.length);
    System.arraycopy(all, all.length - used, number, 32 - used, used);
    byte[] curve = HexFormat.of().parseHex("06082a8648ce3d030107");
    byte[] sec1 =
        Pem.tagged(0x30, new byte[] {2, 1, 1}, Pem.tagged(4, number), Pem.tagged(0xa0, curve));
    assertEquals(ec.getS(), ((ECPrivateKey) read(file("EC PRIVATE KEY", sec1))).getS());
  }

  @Test
  void decryptsWithTheRightPassphraseAndShowsNone() throws Exception {
    PrivateKey rsa = rsa();
    Path file = file("ENCRYPTED PRIVATE KEY", encrypted(rsa));
    assertEquals(rsa, Pem.key("tls.privateKey", file, SECRET));
    String none = refusal(file, "");
    assertTrue(none.contains("tls.passphrase is empty"), none);
    String wrong = refusal(file, "wrong guess");
    assertTrue(wrong.contains("tls.passphrase is not its own"), wrong);
    assertFalse(wrong.contains("wrong guess"), wrong);
  }

  private static byte[] encrypted(PrivateKey key) throws Exception {
    String algorithm = "PBEWithHmacSHA256AndAES_256";
    byte[] salt = new byte[16];
    new SecureRandom().nextBytes(salt);
    var secret =
        SecretKeyFactory.getInstance(algorithm)
            .generateSecret(new PBEKeySpec(SECRET.toCharArray()));
    Cipher cipher = Cipher.getInstance(algorithm);
    cipher.init(Cipher.ENCRYPT_MODE, secret, new PBEParameterSpec(salt, 2_048));
    // As openssl writes it: PBES2, its parameters, and what is encrypted.
    byte[] scheme = HexFormat.of().parseHex("06092a864886f70d01050d");
    byte[] parameters = cipher.getParameters().getEncoded();
    return Pem.tagged(
        0x30,
        Pem.tagged(0x30, scheme, parameters),
        Pem.tagged(0x04, cipher.doFinal(key.getEncoded())));
  }

  private static String refusal(Path file, String passphrase) {
    return String.valueOf(
        assertThrows(CommandException.class, () -> Pem.key("tls.privateKey", file, passphrase))
            .getMessage());
  }

  @Test
  void saysWhatIsWrongWithAFile() throws Exception {
    assertTrue(refusal(dir.resolve("absent"), "").contains("does not exist"));
    assertTrue(refusal(file("CERTIFICATE", new byte[9]), "").contains("holds no private key"));
    assertTrue(refusal(file("PRIVATE KEY", new byte[9]), "").contains("neither RSA, EC"));
    assertTrue(refusal(file("EC PRIVATE KEY", new byte[9]), "").contains("curve"));
    assertTrue(refusal(file("EC PRIVATE KEY", new byte[1]), "").contains("curve"));
    Path old =
        Files.writeString(
            dir.resolve("old"),
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n"
                + "-----END RSA PRIVATE KEY-----\n");
    assertTrue(refusal(old, "x").contains("openssl pkcs8"), refusal(old, "x"));
  }
}
