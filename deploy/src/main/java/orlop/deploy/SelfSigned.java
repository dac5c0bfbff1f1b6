package orlop.deploy;

import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.KeyStore;
import java.security.SecureRandom;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.ECGenParameterSpec;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.HexFormat;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;

/**
 * A certificate that nobody vouches for, made anew with each start: it keeps metrics from being
 * read on the wire, and scrapers must be told not to check it. Source of the layout: RFC 5280.
 */
final class SelfSigned {
  private static final int DAYS = 3_650;
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("yyyyMMddHHmmss'Z'").withZone(ZoneOffset.UTC);

  /** ecdsa-with-SHA256. */
  private static final byte[] SIGNED_BY = HexFormat.of().parseHex("300a06082a8648ce3d040302");

  private static final byte[] COMMON_NAME = HexFormat.of().parseHex("0603550403");

  private SelfSigned() {}

  static SSLContext context(String name) {
    try {
      KeyPairGenerator generator = KeyPairGenerator.getInstance("EC");
      generator.initialize(new ECGenParameterSpec("secp256r1"));
      KeyPair keys = generator.generateKeyPair();
      Certificate certificate =
          CertificateFactory.getInstance("X.509")
              .generateCertificate(new ByteArrayInputStream(der(name, keys)));
      KeyStore store = KeyStore.getInstance("PKCS12");
      store.load(null, null);
      store.setKeyEntry("pod", keys.getPrivate(), new char[0], new Certificate[] {certificate});
      KeyManagerFactory factory =
          KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
      factory.init(store, new char[0]);
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(factory.getKeyManagers(), null, null);
      return context;
    } catch (GeneralSecurityException | java.io.IOException e) {
      throw new IllegalStateException("cannot make a certificate for the metrics", e);
    }
  }

  private static byte[] der(String name, KeyPair keys) throws GeneralSecurityException {
    byte[] serial = new byte[8];
    new SecureRandom().nextBytes(serial);
    serial[0] &= 0x7f;
    Instant now = Instant.now().minus(1, ChronoUnit.HOURS);
    byte[] text = Pem.tagged(0x0c, name.getBytes(StandardCharsets.UTF_8));
    byte[] subject = Pem.tagged(0x30, Pem.tagged(0x31, Pem.tagged(0x30, COMMON_NAME, text)));
    byte[] body =
        Pem.tagged(
            0x30,
            Pem.tagged(0xa0, new byte[] {2, 1, 2}),
            Pem.tagged(0x02, serial),
            SIGNED_BY,
            subject,
            Pem.tagged(0x30, time(now), time(now.plus(DAYS, ChronoUnit.DAYS))),
            subject,
            keys.getPublic().getEncoded());
    Signature signing = Signature.getInstance("SHA256withECDSA");
    signing.initSign(keys.getPrivate());
    signing.update(body);
    return Pem.tagged(0x30, body, SIGNED_BY, Pem.tagged(0x03, new byte[] {0}, signing.sign()));
  }

  private static byte[] time(Instant at) {
    return Pem.tagged(0x18, TIME.format(at).getBytes(StandardCharsets.US_ASCII));
  }
}
